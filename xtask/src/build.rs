//! `cargo xtask build`: the binary and the plugins.

use anyhow::Result;

use crate::lay::lay;
use crate::shell::Shell;
use crate::workspace::{Profile, Workspace};

/// Builds the binary and every plugin, and lays the plugins beside the binary.
pub(crate) fn product(shell: &Shell, workspace: &Workspace, profile: Profile) -> Result<()> {
    let mut command = shell.cargo(&["build", "--package", "mecha"]);
    for plugin in workspace.plugins() {
        command.args(["--package", &plugin.name]);
    }
    command.args(profile.args());
    shell.step("build mecha and its plugins", &mut command)?;
    lay_plugins(workspace, profile)
}

/// Builds everything that tests need, in one go and with the features that `cargo test --workspace` will ask for, so that
/// nothing is compiled a second time.
pub(crate) fn for_tests(shell: &Shell, workspace: &Workspace) -> Result<()> {
    shell.step("build everything", &mut shell.cargo(&["build", "--workspace", "--all-targets"]))?;
    lay_plugins(workspace, Profile::Debug)
}

fn lay_plugins(workspace: &Workspace, profile: Profile) -> Result<()> {
    let built = workspace.profile_dir(profile);
    let folder = built.join("plugins");
    for plugin in workspace.plugins() {
        let library = plugin.library();
        let is_new = lay(&built.join(&library), &folder, &library)?;
        println!("    {} {library}", if is_new { "laid     " } else { "unchanged" });
    }
    Ok(())
}
