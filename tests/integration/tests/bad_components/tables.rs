//! Every field that a shipped component type reads more than text from, with a value that means nothing.

use crate::refusals::{Given, Group, Row, SECRET};

pub const NO_FLAG: &str = "is neither true nor false";
const NO_DURATION: &str = "is not a duration such as";
const NO_NUMBER: &str = "invalid value: invalid digit";
const MISSING: &str = "required metadata field is missing";

/// Nobody listens there: what is wrong in the metadata is said before anybody is asked.
const NOBODY: &str = "127.0.0.1:1";

const REDIS_BASE: Given<'_> =
    &[("redisHost", NOBODY), ("redisUsername", "someone"), ("redisPassword", SECRET), ("stream", "s")];

const REDIS: &[Row<'_>] = &[
    (&[("redisHost", "")], "redisHost", MISSING),
    (&[("redisHost", ",")], "redisHost", "names no host"),
    (&[("redisHost", "a:b")], "redisHost", "invalid port"),
    (&[("redisHost", "a:1,b:2")], "redisHost", "need redisType cluster"),
    (&[("redisHost", "a:1"), ("redisPort", "2")], "redisPort", "already names port 1"),
    (&[("redisPort", "high")], "redisPort", NO_NUMBER),
    (&[("redisType", "ring")], "redisType", "neither node nor cluster"),
    (&[("failover", "perhaps")], "failover", NO_FLAG),
    (&[("failover", "true")], "sentinelMasterName", MISSING),
    (&[("enableTLS", "ture")], "enableTLS", NO_FLAG),
    (&[("insecureSkipTLSVerify", "2")], "insecureSkipTLSVerify", NO_FLAG),
    (&[("enableTLS", "true"), ("clientCert", SECRET)], "clientKey", "required with clientCert"),
    (&[("enableTLS", "true"), ("clientKey", SECRET)], "clientCert", "required with clientKey"),
    (&[("enableTLS", "true"), ("clientCert", SECRET), ("clientKey", SECRET)], "clientCert", "PEM"),
    (&[("useEntraID", "true")], "useEntraID", "not supported"),
    (&[("useOIDC", "true")], "useOIDC", "not supported"),
    (&[("minIdleConns", "few")], "minIdleConns", NO_NUMBER),
    (&[("maxConnAge", "old")], "maxConnAge", NO_DURATION),
    (&[("poolTimeout", "soon")], "poolTimeout", NO_DURATION),
    (&[("idleTimeout", "soon")], "idleTimeout", NO_DURATION),
    (&[("idleCheckFrequency", "often")], "idleCheckFrequency", NO_DURATION),
    (&[("dialTimeout", "soon")], "dialTimeout", NO_DURATION),
    (&[("readTimeout", "soon")], "readTimeout", NO_DURATION),
    (&[("writeTimeout", "soon")], "writeTimeout", NO_DURATION),
    (&[("redisMinRetryInterval", "soon")], "redisMinRetryInterval", NO_DURATION),
    (&[("redisMaxRetryInterval", "soon")], "redisMaxRetryInterval", NO_DURATION),
    (&[("redisMaxRetries", "many")], "redisMaxRetries", NO_NUMBER),
    (&[("maxRetries", "many")], "maxRetries", NO_NUMBER),
    (&[("maxRetryBackoff", "1s")], "maxRetryBackoff", NO_NUMBER),
    (&[("redisDB", "-1")], "redisDB", "must not be negative"),
    (&[("redisDB", "one")], "redisDB", NO_NUMBER),
    (&[("poolSize", "-2")], "poolSize", NO_NUMBER),
];

/// Every type on Redis.
pub const ON_REDIS: Group<'_> = Group {
    plugin: "redis",
    kinds: &["state.redis", "pubsub.redis", "bindings.redis", "configuration.redis", "lock.redis"],
    base: REDIS_BASE,
    rows: &[REDIS],
};

/// What the state store reads besides.
pub const REDIS_STATE: Group<'_> = Group {
    plugin: "redis",
    kinds: &["state.redis"],
    base: REDIS_BASE,
    rows: &[&[(&[("ttlInSeconds", "soon")], "ttlInSeconds", NO_NUMBER)]],
};

/// What the broker reads besides.
pub const REDIS_PUBSUB: Group<'_> = Group {
    plugin: "redis",
    kinds: &["pubsub.redis"],
    base: REDIS_BASE,
    rows: &[&[
        (&[("processingTimeout", "soon")], "processingTimeout", NO_DURATION),
        (&[("redeliverInterval", "soon")], "redeliverInterval", NO_DURATION),
        (&[("queueDepth", "0")], "queueDepth", "must be at least 1"),
        (&[("queueDepth", "deep")], "queueDepth", NO_NUMBER),
        (&[("concurrency", "few")], "concurrency", NO_NUMBER),
        (&[("maxLenApprox", "long")], "maxLenApprox", NO_NUMBER),
        (&[("streamTTL", "soon")], "streamTTL", NO_DURATION),
    ]],
};

/// Both types on Kafka.
pub const ON_KAFKA: Group<'_> = Group {
    plugin: "kafka",
    kinds: &["pubsub.kafka", "bindings.kafka"],
    base: &[
        ("brokers", NOBODY),
        ("authType", "password"),
        ("saslUsername", "someone"),
        ("saslPassword", SECRET),
        ("topics", "t"),
        ("publishTopic", "t"),
    ],
    rows: &[KAFKA, KAFKA_LOGIN],
};

const KAFKA: &[Row<'_>] = &[
    (&[("brokers", "")], "brokers", MISSING),
    (&[("brokers", " , ")], "brokers", "names no broker"),
    (&[("brokers", "a:b")], "brokers", "'a:b' is not host:port"),
    (&[("initialOffset", "middle")], "initialOffset", "none of newest, oldest"),
    (&[("maxMessageBytes", "many")], "maxMessageBytes", NO_NUMBER),
    (&[("maxMessageBytes", "10")], "maxMessageBytes", "must lie between 1000 and"),
    (&[("consumeRetryEnabled", "perhaps")], "consumeRetryEnabled", NO_FLAG),
    (&[("consumeRetryInterval", "soon")], "consumeRetryInterval", NO_DURATION),
    (&[("heartbeatInterval", "soon")], "heartbeatInterval", NO_DURATION),
    (&[("heartbeatInterval", "20s")], "heartbeatInterval", "shorter than sessionTimeout"),
    (&[("sessionTimeout", "soon")], "sessionTimeout", NO_DURATION),
    (&[("sessionTimeout", "2h")], "sessionTimeout", "must not exceed an hour"),
    (
        &[("clientConnectionTopicMetadataRefreshInterval", "often")],
        "clientConnectionTopicMetadataRefreshInterval",
        NO_DURATION,
    ),
    (&[("clientConnectionKeepAliveInterval", "often")], "clientConnectionKeepAliveInterval", NO_DURATION),
    (&[("dialTimeout", "soon")], "dialTimeout", NO_DURATION),
    (&[("readTimeout", "soon")], "readTimeout", NO_DURATION),
    (&[("writeTimeout", "soon")], "writeTimeout", NO_DURATION),
    (&[("consumerFetchMin", "0")], "consumerFetchMin", "must lie between 1 and"),
    (&[("consumerFetchDefault", "much")], "consumerFetchDefault", NO_NUMBER),
    (&[("channelBufferSize", "0")], "channelBufferSize", "must lie between 1 and"),
    (
        &[("consumerGroupRebalanceStrategy", "fair")],
        "consumerGroupRebalanceStrategy",
        "none of range, sticky, roundrobin",
    ),
    (&[("compression", "rar")], "compression", "none of none, gzip, snappy, lz4, zstd"),
    (&[("producerRequiredAcks", "some")], "producerRequiredAcks", "none of all, local, none"),
    (&[("producerRetryMax", "-1")], "producerRetryMax", NO_NUMBER),
    (&[("escapeHeaders", "perhaps")], "escapeHeaders", NO_FLAG),
    (&[("excludeHeaderMetaRegex", "(")], "excludeHeaderMetaRegex", "not a regular expression"),
    (&[("schemaRegistryURL", "http://a")], "schemaRegistryURL", "not supported"),
    (&[("version", "new")], "version", "not a version such as 2.0.0"),
];

const KAFKA_LOGIN: &[Row<'_>] = &[
    (&[("authType", "")], "authType", MISSING),
    (&[("authType", "token")], "authType", "none of none, password, certificate, mtls, oidc"),
    (&[("authType", "awsiam")], "authType", "not supported"),
    (&[("authType", ""), ("authRequired", "perhaps")], "authRequired", NO_FLAG),
    (&[("authType", "certificate")], "caCert", MISSING),
    (&[("saslMechanism", "MD5")], "saslMechanism", "none of PLAINTEXT, SHA-256, SHA-512"),
    (&[("saslUsername", "")], "saslUsername", MISSING),
    (&[("saslPassword", "")], "saslPassword", MISSING),
    (&[("caCert", SECRET)], "caCert", "not in PEM"),
    (&[("skipVerify", "perhaps")], "skipVerify", NO_FLAG),
    (&[("disableTls", "perhaps")], "disableTls", NO_FLAG),
    (&[("authType", "mtls")], "clientCert", "required with authType mtls"),
    (&[("authType", "mtls"), ("disableTls", "true")], "disableTls", "needs TLS"),
    (&[("authType", "mtls"), ("clientCert", SECRET)], "clientCert", "not in PEM"),
    (&[("authType", "mtls"), ("clientKey", SECRET)], "clientKey", "not in PEM"),
    (&[("authType", "oidc")], "oidcTokenEndpoint", MISSING),
    (&[("authType", "oidc"), ("oidcTokenEndpoint", "ftp://a")], "oidcTokenEndpoint", "http or https"),
    (&[("authType", "oidc"), ("oidcTokenEndpoint", "http://a")], "oidcClientID", MISSING),
    (
        &[("authType", "oidc"), ("oidcTokenEndpoint", "http://a"), ("oidcClientID", "c")],
        "oidcClientSecret",
        MISSING,
    ),
    (&[("authType", "oidc"), ("oidcExtensions", "{}")], "oidcExtensions", "not supported"),
];

/// What Kafka's binding reads besides.
pub const KAFKA_BINDING: Group<'_> = Group {
    plugin: "kafka",
    kinds: &["bindings.kafka"],
    base: &[("brokers", NOBODY), ("authType", "none"), ("topics", "t"), ("publishTopic", "t")],
    rows: &[&[
        (&[("direction", "sideways")], "direction", "neither input nor output"),
        (&[("direction", "output"), ("publishTopic", "")], "publishTopic", MISSING),
        (&[("direction", "input"), ("topics", "")], "topics", MISSING),
    ]],
};

const AWS_BASE: Given<'_> = &[
    ("region", "us-east-1"),
    ("endpoint", "http://127.0.0.1:1"),
    ("accessKey", "AKIA0"),
    ("secretKey", SECRET),
    ("queueName", "q"),
    ("bucket", "b"),
];

const AWS: &[Row<'_>] = &[
    (&[("endpoint", "ftp://a")], "endpoint", "not an http or https address"),
    (&[("endpoint", "a b")], "endpoint", "is not an address"),
    (&[("stsEndpoint", "ftp://a")], "stsEndpoint", "not an http or https address"),
    (
        &[("region", ""), ("endpoint", "")],
        "region",
        "no region in the metadata, the environment or the profile",
    ),
    (&[("accessKey", "")], "accessKey", "required with secretKey"),
    (&[("secretKey", "")], "secretKey", "required with accessKey"),
    (&[("trustAnchorArn", "arn")], "trustAnchorArn", "not supported"),
    (&[("insecureSSL", "perhaps")], "insecureSSL", NO_FLAG),
    (&[("disableSSL", "perhaps")], "disableSSL", NO_FLAG),
];

/// Both types on SQS.
pub const ON_SQS: Group<'_> = Group {
    plugin: "aws",
    kinds: &["pubsub.aws.sqs", "bindings.aws.sqs"],
    base: AWS_BASE,
    rows: &[
        AWS,
        &[
            (&[("messageVisibilityTimeout", "0")], "messageVisibilityTimeout", "not between 1 and 43200"),
            (&[("messageVisibilityTimeout", "soon")], "messageVisibilityTimeout", NO_NUMBER),
            (&[("messageWaitTimeSeconds", "21")], "messageWaitTimeSeconds", "not between 1 and 20"),
            (&[("messageMaxNumber", "11")], "messageMaxNumber", "not between 1 and 10"),
            (&[("messageReceiveLimit", "3")], "sqsDeadLettersQueueName", "required with messageReceiveLimit"),
            (
                &[("sqsDeadLettersQueueName", "d")],
                "messageReceiveLimit",
                "required with sqsDeadLettersQueueName",
            ),
            (
                &[("sqsDeadLettersQueueName", "a b"), ("messageReceiveLimit", "3")],
                "sqsDeadLettersQueueName",
                "letters, digits, hyphens and underscores",
            ),
            (&[("fifo", "perhaps")], "fifo", NO_FLAG),
            (&[("disableEntityManagement", "perhaps")], "disableEntityManagement", NO_FLAG),
        ],
    ],
};

/// What the queue's binding reads besides.
pub const SQS_BINDING: Group<'_> = Group {
    plugin: "aws",
    kinds: &["bindings.aws.sqs"],
    base: AWS_BASE,
    rows: &[&[(&[("queueName", "")], "queueName", MISSING)]],
};

const S3: &[Row<'_>] =
    &[(&[("bucket", "")], "bucket", MISSING), (&[("forcePathStyle", "perhaps")], "forcePathStyle", NO_FLAG)];

/// The binding on S3.
pub const S3_BINDING: Group<'_> = Group {
    plugin: "aws",
    kinds: &["bindings.aws.s3"],
    base: AWS_BASE,
    rows: &[
        AWS,
        S3,
        &[
            (&[("decodeBase64", "perhaps")], "decodeBase64", NO_FLAG),
            (&[("encodeBase64", "perhaps")], "encodeBase64", NO_FLAG),
            (&[("presignTTL", "soon")], "presignTTL", "cannot parse duration soon"),
            (&[("presignTTL", "200h")], "presignTTL", "not between 1s and 7 days"),
        ],
    ],
};

/// The object store on S3.
pub const S3_OBJECTS: Group<'_> = Group {
    plugin: "aws",
    kinds: &["objects.aws.s3"],
    base: AWS_BASE,
    rows: &[
        AWS,
        S3,
        &[
            (&[("partSizeMiB", "1")], "partSizeMiB", "not between 5 and 5120"),
            (&[("partSizeMiB", "big")], "partSizeMiB", NO_NUMBER),
            (&[("uploadConcurrency", "0")], "uploadConcurrency", "not between 1 and 64"),
        ],
    ],
};

const SQLITE: &[Row<'_>] = &[
    (&[("connectionString", "")], "connectionString", "missing connection string"),
    (&[("connectionString", "a.db?_pragma=busy_timeout(1)")], "connectionString", "forbidden option"),
    (&[("connectionString", "a.db?_txlock=maybe")], "connectionString", "not a value of _txlock"),
    (&[("connectionString", "/no/such/folder/a.db")], "connectionString", "/no/such/folder"),
    (&[("timeout", "soon")], "timeout", NO_DURATION),
    (&[("timeout", "100ms")], "timeout", "must be at least 1s"),
    (&[("busyTimeout", "soon")], "busyTimeout", NO_DURATION),
    (&[("disableWAL", "perhaps")], "disableWAL", NO_FLAG),
    (&[("tableName", "a; drop table a")], "tableName", "invalid identifier"),
];

/// The state store on SQLite.
pub const SQLITE_STATE: Group<'_> = Group {
    plugin: "sqlite",
    kinds: &["state.sqlite"],
    base: &[("connectionString", ":memory:")],
    rows: &[
        SQLITE,
        &[
            (&[("cleanupInterval", "-soon")], "cleanupInterval", NO_DURATION),
            (&[("metadataTableName", "a-b")], "metadataTableName", "invalid identifier"),
        ],
    ],
};

/// The broker on SQLite.
pub const SQLITE_PUBSUB: Group<'_> = Group {
    plugin: "sqlite",
    kinds: &["pubsub.sqlite"],
    base: &[("connectionString", ":memory:")],
    rows: &[
        SQLITE,
        &[
            (&[("connectionString", "a.db?mode=ro")], "connectionString", "read-only"),
            (&[("visibilityTimeout", "soon")], "visibilityTimeout", NO_DURATION),
            (&[("visibilityTimeout", "1ms")], "visibilityTimeout", "must be at least 1s"),
            (&[("pollInterval", "1ms")], "pollInterval", "must be at least 10ms"),
            (&[("maxDeliveries", "few")], "maxDeliveries", NO_NUMBER),
            (&[("retention", "long")], "retention", NO_DURATION),
            (&[("concurrencyMode", "both")], "concurrencyMode", "neither 'parallel' nor 'single'"),
        ],
    ],
};

/// The broker in memory.
pub const MEMORY_PUBSUB: Group<'_> = Group {
    plugin: "memory",
    kinds: &["pubsub.in-memory"],
    base: &[],
    rows: &[&[
        (&[("maxQueueMessages", "0")], "maxQueueMessages", "must be at least 1"),
        (&[("maxQueueBytes", "much")], "maxQueueBytes", NO_NUMBER),
        (&[("publishTimeout", "soon")], "publishTimeout", NO_DURATION),
        (&[("concurrencyMode", "both")], "concurrencyMode", "neither 'parallel' nor 'single'"),
    ]],
};

/// Both types on this machine's files.
pub const LOCAL_STORAGE: Group<'_> = Group {
    plugin: "localstorage",
    kinds: &["bindings.localstorage", "objects.local"],
    base: &[],
    rows: &[&[
        (&[], "rootPath", "must not be empty"),
        (&[("rootPath", "/proc/self")], "rootPath", "disallowed location"),
        (&[("rootPath", "/etc/passwd")], "rootPath", "a file and not a directory"),
    ]],
};

/// Schedules.
pub const CRON: Group<'_> = Group {
    plugin: "cron",
    kinds: &["bindings.cron"],
    base: &[],
    rows: &[&[
        (&[], "schedule", "schedule not set"),
        (&[("schedule", "often")], "schedule", "expected 5 to 6 fields, found 1"),
        (&[("schedule", "60 * * * * *")], "schedule", "above maximum (59)"),
        (&[("schedule", "@every soon")], "schedule", "failed to parse duration"),
        (&[("schedule", "@fortnightly")], "schedule", "unrecognized descriptor"),
        (&[("schedule", "TZ=Nowhere/Else * * * * *")], "schedule", "bad location Nowhere/Else"),
    ]],
};

/// Calls over HTTP.
pub const HTTP: Group<'_> = Group {
    plugin: "http-binding",
    kinds: &["bindings.http"],
    base: &[("url", "http://127.0.0.1:1"), ("securityToken", SECRET), ("securityTokenHeader", "X-Token")],
    rows: &[&[
        (&[("url", "")], "url", MISSING),
        (&[("url", "host/path")], "url", "http"),
        (&[("url", "ftp://host")], "url", "http"),
        (&[("maxResponseBodySize", "big")], "maxResponseBodySize", "not a size such as 10Mi"),
        (&[("responseTimeout", "soon")], "responseTimeout", NO_DURATION),
        (&[("errorIfNot2XX", "perhaps")], "errorIfNot2XX", NO_FLAG),
        (&[("securityTokenHeader", "a b")], "securityTokenHeader", "not a header's name"),
        (&[("securityToken", "pl4nted-s3cret\n")], "securityToken", "cannot be sent in a header"),
        (&[("MTLSRenegotiation", "Sometimes")], "MTLSRenegotiation", "invalid renegotiation value"),
        (&[("MTLSRootCA", "/no/such/file")], "MTLSRootCA", "neither a PEM text nor a file"),
        (&[("MTLSClientKey", SECRET)], "MTLSClientKey", "neither a PEM text nor a file"),
    ]],
};

/// Keys in files.
pub const CRYPTO: Group<'_> = Group {
    plugin: "crypto",
    kinds: &["crypto.dapr.localstorage"],
    base: &[],
    rows: &[&[
        (&[], "path", MISSING),
        (&[("path", "/no/such/folder")], "path", "/no/such/folder"),
        (&[("path", "/etc/passwd")], "path", "/etc/passwd"),
    ]],
};
