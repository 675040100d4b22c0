//! Each field: its default, its spellings, and its name in the error when it is wrong.

use mecha_plugin_api::{ErrorKind, Metadata};

use super::*;

const BROKER: Defaults = Defaults { retries: true };

fn read(pairs: &[(&str, &str)]) -> Result<Settings> {
    let mut metadata = Metadata::from_iter([("brokers", "a:9092"), ("authType", "none")]);
    for (key, value) in pairs {
        metadata.insert(*key, *value);
    }
    Settings::read(&ComponentSpec::new("pubsub", "pubsub.kafka", metadata), BROKER)
}

fn refused_field(pairs: &[(&str, &str)]) -> String {
    let error = read(pairs).err().unwrap_or_else(|| panic!("{pairs:?} was taken"));
    assert_eq!(error.kind(), ErrorKind::INVALID, "{error}");
    error.field().unwrap().to_owned()
}

#[test]
fn defaults_are_daprs() {
    let settings = read(&[]).unwrap();
    assert_eq!(settings.brokers, "a:9092");
    assert_eq!(settings.group, "app");
    assert_eq!(settings.initial_offset, InitialOffset::Newest);
    assert_eq!(settings.retry, Some(Duration::from_millis(100)));
    assert_eq!((settings.heartbeat.as_secs(), settings.session_timeout.as_secs()), (3, 10));
    assert_eq!(settings.refresh, Duration::from_secs(480));
    assert_eq!((settings.fetch_min, settings.fetch, settings.queue_depth), (1, 1 << 20, 256));
    assert_eq!(settings.max_message_bytes, 1 << 20);
    assert_eq!(settings.strategy, Strategy::Range);
    assert_eq!((settings.compression, settings.acks), ("none", RequiredAcks::All));
    assert!(settings.security.tls.is_none() && settings.security.sasl.is_none());
}

#[test]
fn bindings_do_not_retry_unless_told() {
    let spec = |pairs: &[(&str, &str)]| {
        let given = [("brokers", "a"), ("authType", "none")];
        ComponentSpec::new("b", "bindings.kafka", given.iter().chain(pairs).copied().collect())
    };
    let binding = Defaults { retries: false };
    assert_eq!(Settings::read(&spec(&[]), binding).unwrap().retry, None);
    let told = Settings::read(&spec(&[("consumeRetryEnabled", "true")]), binding).unwrap();
    assert_eq!(told.retry, Some(Duration::from_millis(100)));
}

#[test]
fn the_group_is_named_in_three_ways() {
    assert_eq!(read(&[("consumerGroup", "g"), ("consumerID", "c")]).unwrap().group, "g");
    assert_eq!(read(&[("consumerID", "c")]).unwrap().group, "c");
}

#[test]
fn a_bare_retry_interval_counts_milliseconds() {
    let retry = |text| read(&[("consumeRetryInterval", text)]).unwrap().retry;
    assert_eq!(retry("250"), Some(Duration::from_millis(250)));
    assert_eq!(retry("2s"), Some(Duration::from_secs(2)));
    assert_eq!(read(&[("consumeRetryEnabled", "false")]).unwrap().retry, None);
}

#[test]
fn wrong_fields_are_named() {
    for (field, value) in [
        ("brokers", ""),
        ("brokers", " , "),
        ("brokers", "a:b"),
        ("brokers", ":9092"),
        ("authType", ""),
        ("authType", "kerberos"),
        ("authType", "awsiam"),
        ("initialOffset", "middle"),
        ("maxMessageBytes", "1k"),
        ("maxMessageBytes", "10"),
        ("consumeRetryEnabled", "perhaps"),
        ("consumeRetryInterval", "soon"),
        ("heartbeatInterval", "often"),
        ("heartbeatInterval", "10s"),
        ("sessionTimeout", "long"),
        ("sessionTimeout", "2h"),
        ("version", "new"),
        ("version", "2"),
        ("disableTls", "ture"),
        ("skipVerify", "2"),
        ("caCert", "file.pem"),
        ("compression", "brotli"),
        ("consumerFetchMin", "few"),
        ("consumerFetchMin", "0"),
        ("consumerFetchDefault", "-1"),
        ("channelBufferSize", "0"),
        ("consumerGroupRebalanceStrategy", "fair"),
        ("clientConnectionTopicMetadataRefreshInterval", "x"),
        ("clientConnectionKeepAliveInterval", "x"),
        ("dialTimeout", "x"),
        ("readTimeout", "x"),
        ("writeTimeout", "x"),
        ("metadataTimeout", "x"),
        ("producerRequiredAcks", "two"),
        ("producerRetryMax", "-1"),
        ("escapeHeaders", "maybe"),
        ("excludeHeaderMetaRegex", "("),
        ("schemaRegistryURL", "http://registry"),
    ] {
        assert_eq!(refused_field(&[(field, value)]), field, "{value}");
    }
}

#[test]
fn versions_are_read() {
    assert!(read(&[("version", "0.10.2.0")]).is_ok());
    assert!(read(&[("version", "2.0.0")]).is_ok());
}

#[test]
fn passwords_need_a_name_and_a_known_mechanism() {
    let password = ("authType", "password");
    assert_eq!(refused_field(&[password]), "saslUsername");
    assert_eq!(refused_field(&[password, ("saslUsername", "u")]), "saslPassword");
    let known = [password, ("saslUsername", "u"), ("saslPassword", "p")];
    for (word, expected) in [
        ("", Mechanism::Plain),
        ("PLAIN", Mechanism::Plain),
        ("SHA-256", Mechanism::ScramSha256),
        ("scram-sha-512", Mechanism::ScramSha512),
    ] {
        let settings = read(&[&known[..], &[("saslMechanism", word)]].concat()).unwrap();
        let Some(Sasl::Password { mechanism, .. }) = settings.security.sasl else { panic!("no password") };
        assert_eq!(mechanism, expected, "{word}");
        assert!(settings.security.tls.is_some(), "a password travels over TLS");
    }
    assert_eq!(refused_field(&[&known[..], &[("saslMechanism", "SHA-1")]].concat()), "saslMechanism");
    let off = read(&[&known[..], &[("disableTls", "true")]].concat()).unwrap();
    assert!(off.security.tls.is_none());
}

#[test]
fn certificates_come_in_pairs() {
    const PEM: &str = "-----BEGIN X-----\nAA==\n-----END X-----";
    let mtls = ("authType", "mtls");
    assert_eq!(refused_field(&[mtls]), "clientCert");
    assert_eq!(refused_field(&[mtls, ("clientCert", PEM)]), "clientKey");
    assert_eq!(refused_field(&[mtls, ("clientCert", PEM), ("clientKey", "x")]), "clientKey");
    assert_eq!(refused_field(&[mtls, ("disableTls", "true")]), "disableTls");
    assert_eq!(refused_field(&[("authType", "certificate")]), "caCert");
    assert!(read(&[mtls, ("clientCert", PEM), ("clientKey", PEM)]).is_ok());
    assert!(read(&[("authType", "certificate"), ("caCert", PEM)]).is_ok());
}

#[test]
fn tokens_need_their_provider() {
    let mut pairs = vec![("authType", "oidc")];
    for (field, value) in [
        ("oidcTokenEndpoint", "https://identity/token"),
        ("oidcClientID", "id"),
        ("oidcClientSecret", "secret"),
    ] {
        assert_eq!(refused_field(&pairs), field);
        pairs.push((field, value));
    }
    let Some(Sasl::Oidc(oidc)) = read(&pairs).unwrap().security.sasl else { panic!("no token") };
    assert_eq!(oidc.scopes, "openid");
    pairs.push(("oidcScopes", "openid, kafka"));
    let Some(Sasl::Oidc(oidc)) = read(&pairs).unwrap().security.sasl else { panic!("no token") };
    assert_eq!(oidc.scopes, "openid kafka");
    assert_eq!(refused_field(&[&pairs[..], &[("oidcExtensions", "{}")]].concat()), "oidcExtensions");
    assert_eq!(
        refused_field(&[&pairs[..], &[("oidcTokenEndpoint", "ftp://x")]].concat()),
        "oidcTokenEndpoint"
    );
}

#[test]
fn the_older_way_to_ask_for_authentication() {
    let given = |pairs: &[(&str, &str)]| {
        let metadata = [("brokers", "a")].iter().chain(pairs).copied().collect();
        Settings::read(&ComponentSpec::new("p", "pubsub.kafka", metadata), BROKER)
    };
    assert!(given(&[("authRequired", "false")]).is_ok());
    let password = given(&[("authRequired", "true"), ("saslUsername", "u"), ("saslPassword", "p")]).unwrap();
    assert!(password.security.sasl.is_some());
    let missing = given(&[("authRequired", "true")]).unwrap_err();
    assert_eq!(missing.field(), Some("clientCert"));
    assert_eq!(given(&[]).unwrap_err().field(), Some("authType"));
}

#[test]
fn no_secret_is_printed() {
    let settings = read(&[("authType", "password"), ("saslUsername", "u"), ("saslPassword", "hidden")]);
    assert!(!format!("{:?}", settings.unwrap()).contains("hidden"));
}
