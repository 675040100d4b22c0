//! The connection part of every component's metadata: Dapr's names, parsed once into [`Settings`].

use std::fmt;
use std::time::Duration;

use mecha_plugin_api::{ComponentSpec, Error, Result, parse_duration};

const DEFAULT_PORT: u16 = 6379;
const DEFAULT_DIAL_TIMEOUT: Duration = Duration::from_secs(5);
const DEFAULT_READ_TIMEOUT: Duration = Duration::from_secs(3);
const DEFAULT_MAX_RETRIES: i64 = 3;
const DEFAULT_MIN_RETRY_INTERVAL: Duration = Duration::from_millis(8);
const DEFAULT_MAX_RETRY_INTERVAL: Duration = Duration::from_millis(512);
/// A multiplexed connection carries any number of calls at once; more of them only split the batches that make it fast.
const DEFAULT_CONNECTIONS: usize = 1;
const MAX_CONNECTIONS: usize = 16;

/// What this plugin knows of but does not offer: refused, because ignoring it would connect as someone else than asked.
const REFUSED_FLAGS: &[(&str, &str)] = &[
    ("useEntraID", "Microsoft Entra ID authentication is not supported"),
    ("useAzureAD", "Microsoft Entra ID authentication is not supported"),
    ("useOIDC", "OIDC authentication is not supported"),
];

/// Dapr's settings of a pool of unshared connections: without effect here, but a value that cannot be read is an error.
const POOL_DURATIONS: &[&str] = &["maxConnAge", "poolTimeout", "idleTimeout", "idleCheckFrequency"];

/// Where a server listens.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Which of the servers a command goes to.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Topology {
    /// There is one.
    Single,
    /// The master that the sentinels at the given hosts name.
    Sentinel(SentinelSettings),
    /// The node that holds the command's key; the given hosts are where to ask first.
    Cluster,
}

/// How the sentinels are asked.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct SentinelSettings {
    pub(crate) master: String,
    pub(crate) credentials: Credentials,
}

/// Who logs in.
#[derive(Clone, PartialEq, Default)]
pub(crate) struct Credentials {
    pub(crate) username: Option<String>,
    pub(crate) password: Option<String>,
}

/// Says only that there are credentials: they are secrets.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({} given)", if self.password.is_some() { "password" } else { "none" })
    }
}

/// Everything that settles how a component is connected.
#[derive(Clone)]
pub(crate) struct Settings {
    /// The server, or the sentinels, or some nodes of the cluster; at least one.
    pub(crate) hosts: Vec<Address>,
    pub(crate) topology: Topology,
    pub(crate) credentials: Credentials,
    pub(crate) database: i64,
    pub(crate) tls: Option<TlsSettings>,
    /// How long one connection attempt may take, and how long a call waits for a connection.
    pub(crate) dial_timeout: Duration,
    /// How long a command may take; `None` = for ever.
    pub(crate) read_timeout: Option<Duration>,
    /// How long sent bytes may stay unacknowledged before the connection counts as dead; `None` = the system's default.
    pub(crate) write_timeout: Option<Duration>,
    pub(crate) retry: Retry,
    pub(crate) connections: usize,
}

/// How a lost connection is treated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Retry {
    /// Attempts that a call waits for beyond its first.
    pub(crate) max: u32,
    /// Shortest wait between two attempts to connect.
    pub(crate) min_wait: Duration,
    /// Longest wait between two attempts to connect.
    pub(crate) max_wait: Duration,
}

/// How TLS is set up.
#[derive(Clone)]
pub(crate) struct TlsSettings {
    pub(crate) skip_verify: bool,
    /// Certificate chain and key in PEM, for servers that ask for one.
    pub(crate) identity: Option<(String, String)>,
}

impl Settings {
    /// Reads a component's metadata.
    pub(crate) fn read(spec: &ComponentSpec) -> Result<Self> {
        refuse_unsupported(spec)?;
        check_pool_settings(spec)?;
        let topology = topology(spec)?;
        let read_timeout = timeout(spec, "readTimeout", Some(DEFAULT_READ_TIMEOUT))?;
        Ok(Self {
            hosts: hosts(spec, &topology)?,
            credentials: credentials(spec, "redisUsername", "redisPassword"),
            database: database(spec, &topology)?,
            topology,
            tls: tls(spec)?,
            dial_timeout: timeout(spec, "dialTimeout", Some(DEFAULT_DIAL_TIMEOUT))?.unwrap_or(Duration::MAX),
            read_timeout,
            write_timeout: timeout(spec, "writeTimeout", read_timeout)?,
            retry: retry(spec)?,
            connections: connections(spec)?,
        })
    }
}

/// A yes/no field. Dapr takes anything that is not a yes for a no; a typing error here could turn TLS off.
pub(crate) fn flag(spec: &ComponentSpec, field: &str) -> Result<bool> {
    let text = spec.text(field).unwrap_or_default().trim().to_ascii_lowercase();
    match text.as_str() {
        "" | "false" | "no" | "n" | "off" | "0" | "f" => Ok(false),
        _ if spec.flag(field) => Ok(true),
        _ => Err(Error::invalid(format!("'{text}' is neither true nor false")).with_field(field)),
    }
}

fn refuse_unsupported(spec: &ComponentSpec) -> Result<()> {
    for (field, reason) in REFUSED_FLAGS {
        if flag(spec, field)? {
            return Err(Error::invalid(*reason).with_field(*field));
        }
    }
    Ok(())
}

fn check_pool_settings(spec: &ComponentSpec) -> Result<()> {
    for field in POOL_DURATIONS {
        timeout(spec, field, None)?;
    }
    spec.parsed("minIdleConns", 0_i64).map(drop)
}

fn topology(spec: &ComponentSpec) -> Result<Topology> {
    let kind = spec.text("redisType").unwrap_or_default().trim().to_ascii_lowercase();
    if !matches!(kind.as_str(), "" | "node" | "cluster") {
        return Err(Error::invalid(format!("'{kind}' is neither node nor cluster")).with_field("redisType"));
    }
    if flag(spec, "failover")? {
        return Ok(Topology::Sentinel(SentinelSettings {
            master: spec.required("sentinelMasterName")?.trim().to_owned(),
            credentials: credentials(spec, "sentinelUsername", "sentinelPassword"),
        }));
    }
    Ok(if kind == "cluster" { Topology::Cluster } else { Topology::Single })
}

fn owned(spec: &ComponentSpec, field: &str) -> Option<String> {
    spec.text(field).map(str::to_owned)
}

fn credentials(spec: &ComponentSpec, username: &str, password: &str) -> Credentials {
    Credentials { username: owned(spec, username), password: owned(spec, password) }
}

fn hosts(spec: &ComponentSpec, topology: &Topology) -> Result<Vec<Address>> {
    let text = spec.required("redisHost")?;
    let separate = spec.parsed::<u16>("redisPort", 0)?;
    let texts = text.split(',').map(str::trim).filter(|text| !text.is_empty());
    let hosts: Vec<_> = texts.map(|text| address(text, separate)).collect::<Result<_>>()?;
    match (hosts.len(), topology) {
        (0, _) => Err(Error::invalid("names no host").with_field("redisHost")),
        (1, _) | (_, Topology::Sentinel(_) | Topology::Cluster) => Ok(hosts),
        (_, Topology::Single) => {
            let message = "several hosts need redisType cluster, or failover for sentinels";
            Err(Error::invalid(message).with_field("redisHost"))
        }
    }
}

fn address(text: &str, separate: u16) -> Result<Address> {
    let (host, port) = split_port(text);
    if host.is_empty() {
        return Err(Error::invalid(format!("'{text}' names no host")).with_field("redisHost"));
    }
    let host = host.to_owned();
    let Some(port) = port else {
        return Ok(Address { host, port: if separate == 0 { DEFAULT_PORT } else { separate } });
    };
    let port: u16 = port
        .parse()
        .map_err(|error| Error::invalid(format!("invalid port: {error}")).with_field("redisHost"))?;
    if separate != 0 && separate != port {
        let message = format!("redisHost already names port {port}, but redisPort is {separate}");
        return Err(Error::invalid(message).with_field("redisPort"));
    }
    Ok(Address { host, port })
}

/// Splits `host:port`; an IPv6 address is in brackets when a port follows.
fn split_port(text: &str) -> (&str, Option<&str>) {
    if let Some((host, rest)) = text.strip_prefix('[').and_then(|text| text.split_once(']')) {
        return (host, rest.strip_prefix(':'));
    }
    match text.split_once(':') {
        Some((host, port)) if !port.contains(':') => (host, Some(port)),
        _ => (text, None),
    }
}

/// A cluster has database 0 only, and Dapr does not look at the field then.
fn database(spec: &ComponentSpec, topology: &Topology) -> Result<i64> {
    match spec.parsed("redisDB", 0)? {
        negative if negative < 0 => Err(Error::invalid("must not be negative").with_field("redisDB")),
        _ if *topology == Topology::Cluster => Ok(0),
        database => Ok(database),
    }
}

fn tls(spec: &ComponentSpec) -> Result<Option<TlsSettings>> {
    let skip_verify = flag(spec, "insecureSkipTLSVerify")?;
    if !flag(spec, "enableTLS")? {
        return Ok(None);
    }
    let identity = match (owned(spec, "clientCert"), owned(spec, "clientKey")) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        (Some(_), None) => return Err(Error::invalid("required with clientCert").with_field("clientKey")),
        (None, Some(_)) => return Err(Error::invalid("required with clientKey").with_field("clientCert")),
    };
    Ok(Some(TlsSettings { skip_verify, identity }))
}

/// A duration as Dapr's Redis components read it: a bare number counts milliseconds, `-1` means none, zero the default.
pub(crate) fn timeout(
    spec: &ComponentSpec,
    field: &str,
    default: Option<Duration>,
) -> Result<Option<Duration>> {
    let Some(text) = spec.text(field).map(str::trim) else { return Ok(default) };
    let parsed = match text.parse::<i64>() {
        Ok(millis) => match u64::try_from(millis) {
            Ok(millis) => Duration::from_millis(millis),
            Err(_) => return Ok(None),
        },
        Err(_) => parse_duration(text).ok_or_else(|| {
            Error::invalid(format!("'{text}' is not a duration such as 3s or 250ms")).with_field(field)
        })?,
    };
    Ok(if parsed.is_zero() { default } else { Some(parsed) })
}

fn retry(spec: &ComponentSpec) -> Result<Retry> {
    let old_name = spec.parsed("maxRetries", DEFAULT_MAX_RETRIES)?;
    let max = spec.parsed("redisMaxRetries", old_name)?;
    // The older field counts nanoseconds and names the shortest wait, whatever its name says.
    let old_wait = match spec.parsed::<u64>("maxRetryBackoff", 0)? {
        0 => DEFAULT_MIN_RETRY_INTERVAL,
        nanos => Duration::from_nanos(nanos),
    };
    let min_wait = timeout(spec, "redisMinRetryInterval", Some(old_wait))?.unwrap_or_default();
    let max_wait = timeout(spec, "redisMaxRetryInterval", Some(DEFAULT_MAX_RETRY_INTERVAL))?;
    Ok(Retry {
        max: u32::try_from(max).unwrap_or(0),
        min_wait,
        max_wait: max_wait.unwrap_or_default().max(min_wait),
    })
}

fn connections(spec: &ComponentSpec) -> Result<usize> {
    match spec.parsed("poolSize", 0)? {
        0 => Ok(DEFAULT_CONNECTIONS),
        wanted => Ok(wanted.min(MAX_CONNECTIONS)),
    }
}

#[cfg(test)]
mod tests {
    use mecha_plugin_api::{ErrorKind, Metadata};

    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Settings> {
        let metadata = Metadata::from_iter(pairs.iter().copied());
        Settings::read(&ComponentSpec::new("store", "state.redis", metadata))
    }

    fn address(host: &str, port: u16) -> Address {
        Address { host: host.to_owned(), port }
    }

    fn refused_field(pairs: &[(&str, &str)]) -> String {
        let error = read(pairs).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::INVALID, "{error}");
        error.field().unwrap().to_owned()
    }

    #[test]
    fn defaults_are_daprs() {
        let settings = read(&[("redisHost", "redis")]).unwrap();
        assert_eq!(settings.hosts, [address("redis", 6379)]);
        assert_eq!(settings.topology, Topology::Single);
        assert_eq!(settings.database, 0);
        assert_eq!(settings.dial_timeout, Duration::from_secs(5));
        assert_eq!(settings.read_timeout, Some(Duration::from_secs(3)));
        assert_eq!(settings.write_timeout, Some(Duration::from_secs(3)));
        assert_eq!(settings.retry.max, 3);
        assert!(settings.tls.is_none() && settings.credentials.password.is_none());
    }

    #[test]
    fn addresses_in_every_spelling() {
        let cases = [
            ("redis:7000", "", "redis", 7000),
            ("redis", "7000", "redis", 7000),
            ("redis:7000", "7000", "redis", 7000),
            ("[::1]:7000", "", "::1", 7000),
            ("::1", "", "::1", 6379),
            ("[::1]", "", "::1", 6379),
        ];
        for (text, separate, host, port) in cases {
            let settings = read(&[("redisHost", text), ("redisPort", separate)]).unwrap();
            assert_eq!(settings.hosts, [address(host, port)], "{text} {separate}");
        }
    }

    #[test]
    fn wrong_fields_are_named() {
        assert_eq!(refused_field(&[]), "redisHost");
        assert_eq!(refused_field(&[("redisHost", "a:1,b:2")]), "redisHost");
        assert_eq!(refused_field(&[("redisHost", "a:b")]), "redisHost");
        assert_eq!(refused_field(&[("redisHost", "a:1"), ("redisPort", "2")]), "redisPort");
        for (field, value) in [
            ("redisHost", ","),
            ("redisHost", ":6379"),
            ("redisPort", "high"),
            ("redisType", "ring"),
            ("failover", "perhaps"),
            ("enableTLS", "ture"),
            ("insecureSkipTLSVerify", "2"),
            ("useEntraID", "true"),
            ("useOIDC", "true"),
            ("minIdleConns", "few"),
            ("maxConnAge", "old"),
            ("poolTimeout", "soon"),
            ("idleTimeout", "soon"),
            ("idleCheckFrequency", "often"),
            ("dialTimeout", "soon"),
            ("writeTimeout", "soon"),
            ("redisMinRetryInterval", "soon"),
            ("redisMaxRetryInterval", "soon"),
            ("maxRetries", "many"),
            ("maxRetryBackoff", "1s"),
            ("redisDB", "-1"),
            ("redisDB", "one"),
            ("readTimeout", "soon"),
            ("redisMaxRetries", "many"),
            ("poolSize", "-2"),
        ] {
            let pairs = [("redisHost", "a"), (field, value)];
            assert_eq!(refused_field(&pairs), field, "{value}");
        }
        let half = [("redisHost", "a"), ("enableTLS", "true"), ("clientCert", "x")];
        assert_eq!(refused_field(&half), "clientKey");
    }

    #[test]
    fn sentinels_and_clusters_take_several_hosts() {
        let many = ("redisHost", "a:1, b,[::1]:3");
        let cluster = read(&[many, ("redisType", "Cluster"), ("redisDB", "3")]).unwrap();
        assert_eq!(cluster.topology, Topology::Cluster);
        assert_eq!(cluster.hosts, [address("a", 1), address("b", 6379), address("::1", 3)]);
        assert_eq!(cluster.database, 0);
        let pairs = [many, ("failover", "true"), ("sentinelMasterName", "main"), ("sentinelPassword", "pw")];
        let Topology::Sentinel(sentinel) = read(&pairs).unwrap().topology else { panic!("no sentinel") };
        assert_eq!(sentinel.master, "main");
        assert_eq!(sentinel.credentials.password.as_deref(), Some("pw"));
        assert_eq!(refused_field(&pairs[..2]), "sentinelMasterName");
    }

    #[test]
    fn durations_count_milliseconds_and_minus_one_is_none() {
        let settings = read(&[
            ("redisHost", "a"),
            ("dialTimeout", "250"),
            ("readTimeout", "-1"),
            ("redisMinRetryInterval", "1s"),
        ])
        .unwrap();
        assert_eq!(settings.dial_timeout, Duration::from_millis(250));
        assert_eq!(settings.read_timeout, None);
        assert_eq!(settings.write_timeout, None);
        assert_eq!(settings.retry.min_wait, Duration::from_secs(1));
        assert_eq!(settings.retry.max_wait, Duration::from_secs(1));
    }

    #[test]
    fn older_names_of_the_retry_fields() {
        let old = read(&[("redisHost", "a"), ("maxRetries", "7"), ("maxRetryBackoff", "2000000")]).unwrap();
        assert_eq!(old.retry.max, 7);
        assert_eq!(old.retry.min_wait, Duration::from_millis(2));
        let both = read(&[("redisHost", "a"), ("maxRetries", "7"), ("redisMaxRetries", "-1")]).unwrap();
        assert_eq!(both.retry.max, 0);
    }

    #[test]
    fn fields_of_other_building_blocks_are_ignored() {
        let pairs =
            [("redisHost", "a"), ("actorStateStore", "true"), ("queryIndexes", "[]"), ("keyPrefix", "n")];
        assert!(read(&pairs).is_ok());
    }
}
