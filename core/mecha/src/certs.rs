//! `mecha certs new`: an authority and certificates for applications, as files that `--enable-mtls` takes.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use mecha_identity::{Authority, Identity};
use mecha_settings::NewCertificates;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Whoever holds a key is the application.
const SECRET: u32 = 0o600;
const PUBLIC: u32 = 0o644;

/// Writes the files. An authority that is there already signs again, so that a second run renews what the first one made.
pub(crate) fn new(asked: &NewCertificates) -> Result<ExitCode> {
    let out = &asked.out;
    fs::create_dir_all(out).with_context(|| format!("cannot make the folder {}", out.display()))?;
    let (authority, mut lines) = authority(out)?;
    for app_id in &asked.app_ids {
        let identity = Identity {
            trust_domain: asked.trust_domain.clone(),
            namespace: asked.namespace.clone(),
            app_id: app_id.clone(),
        };
        let lasts = DAY.saturating_mul(asked.days);
        let issued = authority.issue(&identity, SystemTime::now(), lasts)?;
        let folder = out.join(app_id);
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
        write(&folder.join("tls.key"), &issued.key, SECRET)?;
        write(&folder.join("tls.crt"), &issued.certificate, PUBLIC)?;
        let days = asked.days;
        lines.push(format!("{}/tls.crt, tls.key: {identity}, for {days} days", folder.display()));
    }
    lines.push("\nStart each runtime with its own:".to_owned());
    for app_id in &asked.app_ids {
        let out = out.display();
        lines.push(format!(
            "  DAPR_TRUST_ANCHORS_FILE={out}/ca.crt DAPR_CERT_CHAIN={out}/{app_id}/tls.crt DAPR_CERT_KEY={out}/{app_id}/tls.key {}mecha --app-id {app_id} --enable-mtls",
            if asked.namespace == "default" { String::new() } else { format!("NAMESPACE={} ", asked.namespace) }
        ));
    }
    super::print(&lines.join("\n"))
}

fn authority(out: &Path) -> Result<(Authority, Vec<String>)> {
    let (certificate, key) = (out.join("ca.crt"), out.join("ca.key"));
    if certificate.exists() && key.exists() {
        let read =
            |file: &Path| fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()));
        let authority = Authority::read(&read(&certificate)?, &read(&key)?);
        let authority =
            authority.with_context(|| format!("{} and ca.key are no authority", certificate.display()))?;
        return Ok((authority, vec![format!("{}: the authority that was there", certificate.display())]));
    }
    let authority = Authority::new()?;
    write(&key, &authority.key(), SECRET)?;
    write(&certificate, authority.certificate(), PUBLIC)?;
    let line =
        format!("{}: a new authority; its key ca.key signs, and no runtime needs it", certificate.display());
    Ok((authority, vec![line]))
}

/// In place of what is there, whole: a runtime may read it at any time.
fn write(file: &Path, text: &str, mode: u32) -> Result<()> {
    let written = || {
        let next = file.with_extension("next");
        // What a killed run left may be readable by others.
        if next.exists() {
            fs::remove_file(&next)?;
        }
        let mut open = OpenOptions::new().create_new(true).write(true).mode(mode).open(&next)?;
        open.write_all(text.as_bytes())?;
        fs::rename(&next, file)
    };
    written().with_context(|| format!("cannot write {}", file.display()))
}
