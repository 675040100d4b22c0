//! The flags: daprd's with its names, meanings and defaults, and ours.

/// How a flag's text becomes a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Text.
    Text,
    /// Texts, comma-separated or by repeating the flag.
    List,
    /// True or false, as Go spells them; the bare flag is true.
    Switch,
    /// A switch whose setting says the opposite.
    Negated,
    /// A whole number.
    Number,
    /// A whole number; what is below 1 counts as not given.
    Count,
    /// A whole number; a negative one counts as not given.
    Unsigned,
    /// A Go duration.
    Duration,
    /// A Go duration; zero and less counts as not given.
    PositiveDuration,
    /// A whole number of seconds; what is below 1 counts as not given.
    Seconds,
    /// A whole number of milliseconds; what is below 1 counts as not given.
    Millis,
    /// A Kubernetes quantity; -1 counts as not given.
    Size,
    /// A whole number of MiB; -1 counts as not given.
    Mebibytes,
    /// A whole number of KiB; -1 counts as not given.
    Kibibytes,
    /// No setting: the command line itself looks at it.
    Control,
    /// As `Control`, and true or false.
    ControlSwitch,
    /// Accepted, and without effect.
    Ignored,
}

impl Kind {
    /// Whether the bare flag means something.
    pub(super) fn is_switch(self) -> bool {
        matches!(self, Self::Switch | Self::Negated | Self::ControlSwitch)
    }
}

/// A flag.
#[derive(Debug)]
pub(super) struct Flag {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// The setting it stands for; empty for those without one.
    pub(super) key: &'static str,
    /// The default as daprd's help prints it; empty for none.
    pub(super) default: &'static str,
    pub(super) help: &'static str,
    /// What to use in its place, for a deprecated flag.
    pub(super) instead: Option<&'static str>,
    /// A flag that takes this one's place when both are given.
    pub(super) unless: Option<&'static str>,
}

const fn flag(
    name: &'static str,
    kind: Kind,
    key: &'static str,
    default: &'static str,
    help: &'static str,
) -> Flag {
    Flag { name, kind, key, default, help, instead: None, unless: None }
}

impl Flag {
    const fn deprecated(self, instead: &'static str, unless: Option<&'static str>) -> Self {
        Self { instead: Some(instead), unless, ..self }
    }
}

/// The flag of this name, without dashes.
pub(super) fn find(name: &str) -> Option<&'static Flag> {
    FLAGS.iter().find(|flag| flag.name == name)
}

use Kind::{
    Control, ControlSwitch, Count, Duration, Ignored, Kibibytes, List, Mebibytes, Millis, Negated, Number,
    PositiveDuration, Seconds, Size, Switch, Text, Unsigned,
};

/// Every flag. The order is that of the help text.
#[rustfmt::skip]
pub(super) static FLAGS: [Flag; 61] = [
    // The application.
    flag("app-id", Text, "app.id", "", "The application's id (required)"),
    flag("app-port", Number, "app.port", "", "The port the application listens on"),
    flag("app-protocol", Text, "app.protocol", "http", "How the application is spoken to: http, https, h2c, grpc, grpcs"),
    flag("app-channel-address", Text, "app.channel-address", "127.0.0.1", "The host the application listens on"),
    flag("app-max-concurrency", Number, "app.max-concurrency", "-1", "Calls to the application at a time; -1 for no limit"),
    flag("app-ssl", ControlSwitch, "", "false", "Speak to the application over TLS")
        .deprecated("use --app-protocol https|grpcs", None),
    flag("enable-app-health-check", Switch, "app.health.enabled", "false", "Check the application's health"),
    flag("app-health-check-path", Text, "app.health.path", "/healthz", "Path that is asked for the application's health"),
    flag("app-health-probe-interval", Seconds, "app.health.interval", "5", "Seconds between two health checks"),
    flag("app-health-probe-timeout", Millis, "app.health.timeout", "500", "Milliseconds a health check may take"),
    flag("app-health-threshold", Count, "app.health.threshold", "3", "Failed checks in a row before the application counts as unhealthy"),
    flag("app-binding-options-timeout", PositiveDuration, "app.binding-options-timeout", "3s", "How long the application may take to say whether it wants an input binding's events"),
    flag("disable-init-endpoints", List, "app.disabled-init-endpoints", "", "Start-up questions the application is not asked: config, subscribe"),
    // The ports.
    flag("dapr-http-port", Number, "http.port", "3500", "Port of the HTTP API"),
    flag("dapr-grpc-port", Number, "grpc.port", "50001", "Port of the gRPC API"),
    flag("dapr-internal-grpc-port", Number, "grpc.internal-port", "", "Port for calls from other runtimes (default: any free one)"),
    flag("dapr-internal-grpc-listen-address", Text, "grpc.internal-listen-address", "", "Address of the port for calls from other runtimes"),
    flag("dapr-listen-addresses", List, "http.listen-addresses", "", "Addresses of the HTTP and gRPC APIs, comma-separated (default: all)"),
    flag("dapr-public-port", Number, "http.public-port", "", "A second HTTP port with metadata and health only"),
    flag("dapr-public-listen-address", Text, "http.public-listen-address", "", "Address of the second HTTP port"),
    flag("unix-domain-socket", Text, "http.unix-domain-socket", "", "Folder for Unix domain sockets in place of the API ports"),
    flag("allowed-origins", Text, "http.allowed-origins", "", "Origins that browsers may call from"),
    flag("max-body-size", Size, "http.max-body-size", "4Mi", "Largest request body"),
    flag("dapr-http-max-request-size", Mebibytes, "http.max-body-size", "4", "Largest request body, in MiB")
        .deprecated("use --max-body-size 4Mi", Some("max-body-size")),
    flag("read-buffer-size", Size, "http.read-buffer-size", "4Ki", "Read buffer, and largest request header"),
    flag("dapr-http-read-buffer-size", Kibibytes, "http.read-buffer-size", "4", "Read buffer, in KiB")
        .deprecated("use --read-buffer-size 4Ki", Some("read-buffer-size")),
    flag("enable-metrics", Switch, "metrics.enabled", "true", "Serve Prometheus metrics"),
    flag("metrics-port", Number, "metrics.port", "9090", "Port of the metrics"),
    flag("metrics-listen-address", Text, "metrics.listen-address", "0.0.0.0", "Address of the metrics"),
    flag("enable-profiling", Switch, "profile.enabled", "false", "Serve profiles"),
    flag("profile-port", Number, "profile.port", "7777", "Port of the profiles"),
    // Resources and plugins.
    flag("resources-path", List, "resources.paths", "", "Folder of resource files; may be repeated"),
    flag("components-path", List, "resources.paths", "", "The same as --resources-path")
        .deprecated("use --resources-path", Some("resources-path")),
    flag("config", List, "resources.configurations", "", "Dapr Configuration file; may be repeated"),
    flag("hot-reload-reconcile-interval", PositiveDuration, "resources.reconcile-interval", "0s", "Time between two looks at the resources in case a change went unnoticed (0: 60s)"),
    flag("plugins-dir", List, "plugins.dirs", "", "Folder of plugin libraries; may be repeated (default: the folder plugins beside the binary)"),
    flag("config-dir", Control, "", "", "Folder of the settings: mecha.yaml and profiles"),
    flag("profile", Control, "", "", "Settings profile: PROFILE.yaml of the settings folder, over mecha.yaml"),
    // Logs and the process.
    flag("log-level", Text, "log.level", "info", "Least severe entries that are logged: debug, info, warn, error, fatal"),
    flag("log-as-json", Switch, "log.json", "false", "Log JSON objects"),
    flag("log-file", Text, "log.file", "", "File for the log"),
    flag("enable-api-logging", Switch, "log.api-calls", "", "Log API calls (default: as the Configuration says)"),
    flag("dapr-graceful-shutdown-seconds", Unsigned, "shutdown.graceful-seconds", "5", "Seconds that calls in flight may take to finish at the end"),
    flag("dapr-block-shutdown-duration", Duration, "shutdown.block-duration", "", "How long the end is held back after a signal, unless the application turns unhealthy"),
    flag("mode", Text, "runtime.mode", "standalone", "standalone or kubernetes"),
    // The control plane.
    flag("control-plane-address", Text, "control-plane.address", "", "Address of the operator"),
    flag("control-plane-namespace", Text, "control-plane.namespace", "default", "Namespace of the control plane"),
    flag("control-plane-trust-domain", Text, "control-plane.trust-domain", "localhost", "Trust domain of the control plane"),
    flag("sentry-address", Text, "control-plane.sentry-address", "", "Address of sentry"),
    flag("sentry-request-jwt-audiences", List, "control-plane.sentry-jwt-audiences", "", "Audiences of the token shown to sentry (default: the trust domain)"),
    flag("enable-mtls", Switch, "mtls.enabled", "false", "Mutual TLS between runtimes; needs mtls.trust-anchors, mtls.certificate-chain and mtls.key"),
    flag("placement-host-address", List, "control-plane.placement-addresses", "", "Addresses of placement"),
    flag("actors-disseminate-timeout", Duration, "control-plane.disseminate-timeout", "30s", "How long a round of actor placement may take"),
    flag("scheduler-host-address", List, "control-plane.scheduler-addresses", "", "Addresses of the scheduler"),
    flag("scheduler-job-streams", Unsigned, "control-plane.scheduler-job-streams", "3", "Streams on which jobs arrive"),
    flag("disable-builtin-k8s-secret-store", Negated, "control-plane.kubernetes-secret-store", "false", "Do without the secret store of Kubernetes mode"),
    flag("actors-service", Ignored, "", "", "No effect").deprecated("flag no longer has any effect", None),
    flag("reminders-service", Ignored, "", "", "No effect").deprecated("flag no longer has any effect", None),
    // In place of serving.
    flag("version", ControlSwitch, "", "false", "Print the version"),
    flag("build-info", ControlSwitch, "", "false", "Print the version and how it was built"),
    flag("wait", ControlSwitch, "", "false", "Wait until the runtime on --dapr-http-port can call out, then end"),
];
