//! Every name that leaves the process: spans, attributes, metrics, labels, headers. Renaming one breaks somebody's dashboard.

/// Headers and metadata keys of propagation.
pub mod header {
    /// W3C Trace Context.
    pub const TRACEPARENT: &str = "traceparent";
    /// W3C Trace Context, vendor part.
    pub const TRACESTATE: &str = "tracestate";
    /// W3C Baggage.
    pub const BAGGAGE: &str = "baggage";
    /// Dapr's binary form in gRPC metadata; wins over `traceparent`.
    pub const GRPC_TRACE_BIN: &str = "grpc-trace-bin";
    /// Request headers with this prefix become attributes of the server span.
    pub const DAPR_PREFIX: &str = "dapr-";
}

/// Names of spans. A component's span is `<component type> <operation>`, a server span the path or the full gRPC method.
pub mod span {
    use std::borrow::Cow;

    /// A plugin file becomes a generation.
    pub const PLUGIN_LOAD: &str = "plugin load";
    /// Calls move from one generation to the next.
    pub const PLUGIN_SWAP: &str = "plugin swap";
    /// A generation finishes what it has in flight.
    pub const PLUGIN_DRAIN: &str = "plugin drain";
    /// A component is created and initialised.
    pub const COMPONENT_INIT: &str = "component init";
    /// An event of an input binding goes to the application: `bindings/<name>`.
    pub const BINDING_PREFIX: &str = "bindings/";
    /// A message of a subscription goes to the application: `pubsub/<topic>`.
    pub const PUBSUB_PREFIX: &str = "pubsub/";
    /// The callee's side of an invocation: `CallLocal/<app id>/<method>`.
    pub const CALL_LOCAL_PREFIX: &str = "CallLocal/";

    /// The span of one component call, e.g. `state.redis get`.
    pub fn component_call(component_type: &str, operation: &str) -> Cow<'static, str> {
        Cow::Owned(format!("{component_type} {operation}"))
    }
}

/// Keys of attributes.
pub mod attribute {
    /// Resource: the application.
    pub const SERVICE_NAME: &str = "service.name";
    /// Resource: the runtime's version.
    pub const SERVICE_VERSION: &str = "service.version";
    /// Resource: the host.
    pub const HOST_NAME: &str = "host.name";
    /// Resource: the process.
    pub const PROCESS_PID: &str = "process.pid";

    /// The API of Dapr that was called: `VERB path`, or the full gRPC method.
    pub const DAPR_API: &str = "dapr.api";
    /// The status that was answered.
    pub const DAPR_STATUS_CODE: &str = "dapr.status_code";
    /// `http` or `grpc`.
    pub const DAPR_PROTOCOL: &str = "dapr.protocol";
    /// The method of an invocation.
    pub const DAPR_INVOKE_METHOD: &str = "dapr.invoke_method";
    /// `type.id` of an actor.
    pub const DAPR_ACTOR: &str = "dapr.actor";

    /// The database product, e.g. `redis`.
    pub const DB_SYSTEM_NAME: &str = "db.system.name";
    /// The operation, e.g. `get`.
    pub const DB_OPERATION_NAME: &str = "db.operation.name";
    /// Keys in one operation.
    pub const DB_OPERATION_BATCH_SIZE: &str = "db.operation.batch.size";
    /// What Dapr calls the database: the building block.
    pub const DB_SYSTEM: &str = "db.system";
    /// What Dapr calls the database's name: the component.
    pub const DB_NAME: &str = "db.name";
    /// Dapr's statement: `VERB path` or the gRPC method.
    pub const DB_STATEMENT: &str = "db.statement";
    /// Dapr's connection string: the building block.
    pub const DB_CONNECTION_STRING: &str = "db.connection_string";

    /// The broker, e.g. `kafka`; Dapr says `pubsub`.
    pub const MESSAGING_SYSTEM: &str = "messaging.system";
    /// The topic or queue.
    pub const MESSAGING_DESTINATION_NAME: &str = "messaging.destination.name";
    /// `publish`, `receive`, `process`, `settle`.
    pub const MESSAGING_OPERATION_NAME: &str = "messaging.operation.name";
    /// `send`, `receive`, `process`, `settle`.
    pub const MESSAGING_OPERATION_TYPE: &str = "messaging.operation.type";
    /// Messages in one operation.
    pub const MESSAGING_BATCH_MESSAGE_COUNT: &str = "messaging.batch.message_count";
    /// Id of the message.
    pub const MESSAGING_MESSAGE_ID: &str = "messaging.message.id";
    /// The consumer group.
    pub const MESSAGING_CONSUMER_GROUP_NAME: &str = "messaging.consumer.group.name";

    /// `grpc`.
    pub const RPC_SYSTEM: &str = "rpc.system";
    /// The service called.
    pub const RPC_SERVICE: &str = "rpc.service";
    /// The method called.
    pub const RPC_METHOD: &str = "rpc.method";
    /// gRPC status as a number.
    pub const RPC_GRPC_STATUS_CODE: &str = "rpc.grpc.status_code";

    /// The verb.
    pub const HTTP_REQUEST_METHOD: &str = "http.request.method";
    /// The status as a number.
    pub const HTTP_RESPONSE_STATUS_CODE: &str = "http.response.status_code";
    /// The route with placeholders.
    pub const HTTP_ROUTE: &str = "http.route";
    /// Dapr: the request target.
    pub const URL_FULL: &str = "url.full";
    /// Address.
    pub const SERVER_ADDRESS: &str = "server.address";
    /// Port.
    pub const SERVER_PORT: &str = "server.port";
    /// Dapr: the peer of an invocation.
    pub const NET_PEER_NAME: &str = "net.peer.name";
    /// Class of the failure, e.g. `unavailable`.
    pub const ERROR_TYPE: &str = "error.type";

    /// The component's name.
    pub const COMPONENT_NAME: &str = "mecha.component.name";
    /// The component's type, e.g. `state.redis`.
    pub const COMPONENT_TYPE: &str = "mecha.component.type";
    /// The plugin's file.
    pub const PLUGIN_FILE: &str = "mecha.plugin.file";
    /// The plugin's version.
    pub const PLUGIN_VERSION: &str = "mecha.plugin.version";
    /// Which load of the file served the call.
    pub const PLUGIN_GENERATION: &str = "mecha.plugin.generation";
    /// Which try of a retried call this is, from 1.
    pub const ATTEMPT: &str = "mecha.attempt";

    /// `dapr.protocol` and the building block's name in `db.system`, as Dapr has them.
    pub mod value {
        /// Over HTTP.
        pub const HTTP: &str = "http";
        /// Over gRPC.
        pub const GRPC: &str = "grpc";
        /// State.
        pub const STATE: &str = "state";
        /// Secrets.
        pub const SECRETS: &str = "secrets";
        /// Bindings.
        pub const BINDINGS: &str = "bindings";
        /// Publish and subscribe.
        pub const PUBSUB: &str = "pubsub";
        /// `rpc.service` of the public API.
        pub const DAPR_SERVICE: &str = "Dapr";
        /// `rpc.service` between runtimes.
        pub const SERVICE_INVOCATION: &str = "ServiceInvocation";
    }
}

/// Names of metrics; those with `dapr_` are Dapr's to the letter.
pub mod metric {
    /// Calls of state stores.
    pub const STATE_COUNT: &str = "dapr_component_state_count";
    /// Their latency in ms.
    pub const STATE_LATENCIES: &str = "dapr_component_state_latencies";
    /// Calls of configuration stores.
    pub const CONFIGURATION_COUNT: &str = "dapr_component_configuration_count";
    /// Their latency in ms.
    pub const CONFIGURATION_LATENCIES: &str = "dapr_component_configuration_latencies";
    /// Calls of secret stores.
    pub const SECRET_COUNT: &str = "dapr_component_secret_count";
    /// Their latency in ms.
    pub const SECRET_LATENCIES: &str = "dapr_component_secret_latencies";
    /// Calls of holders of keys.
    pub const CRYPTO_COUNT: &str = "dapr_component_crypto_count";
    /// Their latency in ms.
    pub const CRYPTO_LATENCIES: &str = "dapr_component_crypto_latencies";
    /// Calls of models.
    pub const CONVERSATION_COUNT: &str = "dapr_component_conversation_count";
    /// Their latency in ms.
    pub const CONVERSATION_LATENCIES: &str = "dapr_component_conversation_latencies";
    /// Calls of output bindings.
    pub const OUTPUT_BINDING_COUNT: &str = "dapr_component_output_binding_count";
    /// Their latency in ms.
    pub const OUTPUT_BINDING_LATENCIES: &str = "dapr_component_output_binding_latencies";
    /// Events of input bindings.
    pub const INPUT_BINDING_COUNT: &str = "dapr_component_input_binding_count";
    /// The application's latency in ms.
    pub const INPUT_BINDING_LATENCIES: &str = "dapr_component_input_binding_latencies";
    /// Events published.
    pub const PUBSUB_EGRESS_COUNT: &str = "dapr_component_pubsub_egress_count";
    /// The broker's latency in ms.
    pub const PUBSUB_EGRESS_LATENCIES: &str = "dapr_component_pubsub_egress_latencies";
    /// Bulks published.
    pub const PUBSUB_EGRESS_BULK_COUNT: &str = "dapr_component_pubsub_egress_bulk_count";
    /// Events in published bulks.
    pub const PUBSUB_EGRESS_BULK_EVENT_COUNT: &str = "dapr_component_pubsub_egress_bulk_event_count";
    /// The broker's latency for a bulk in ms.
    pub const PUBSUB_EGRESS_BULK_LATENCIES: &str = "dapr_component_pubsub_egress_bulk_latencies";
    /// Events delivered to the application.
    pub const PUBSUB_INGRESS_COUNT: &str = "dapr_component_pubsub_ingress_count";
    /// The application's latency in ms.
    pub const PUBSUB_INGRESS_LATENCIES: &str = "dapr_component_pubsub_ingress_latencies";
    /// Bulks delivered to the application.
    pub const PUBSUB_INGRESS_BULK_COUNT: &str = "dapr_component_pubsub_ingress_bulk_count";
    /// Events in delivered bulks.
    pub const PUBSUB_INGRESS_BULK_EVENT_COUNT: &str = "dapr_component_pubsub_ingress_bulk_event_count";
    /// The application's latency for a bulk in ms.
    pub const PUBSUB_INGRESS_BULK_LATENCIES: &str = "dapr_component_pubsub_ingress_bulk_latencies";
    /// Components loaded.
    pub const COMPONENT_LOADED: &str = "dapr_runtime_component_loaded";
    /// Components initialised.
    pub const COMPONENT_INIT_TOTAL: &str = "dapr_runtime_component_init_total";
    /// Components that failed to.
    pub const COMPONENT_INIT_FAIL_TOTAL: &str = "dapr_runtime_component_init_fail_total";
    /// Certificates taken in at the start.
    pub const MTLS_INIT_TOTAL: &str = "dapr_runtime_mtls_init_total";
    /// Certificates that could not be used at the start.
    pub const MTLS_INIT_FAIL_TOTAL: &str = "dapr_runtime_mtls_init_fail_total";
    /// Renewed certificates taken in.
    pub const MTLS_ROTATED_TOTAL: &str = "dapr_runtime_mtls_workload_cert_rotated_total";
    /// Renewed certificates that could not be used.
    pub const MTLS_ROTATED_FAIL_TOTAL: &str = "dapr_runtime_mtls_workload_cert_rotated_fail_total";
    /// HTTP requests.
    pub const HTTP_SERVER_REQUEST_COUNT: &str = "dapr_http_server_request_count";
    /// HTTP responses, only with increased cardinality.
    pub const HTTP_SERVER_RESPONSE_COUNT: &str = "dapr_http_server_response_count";
    /// Latency of HTTP requests in ms.
    pub const HTTP_SERVER_LATENCY: &str = "dapr_http_server_latency";
    /// Sizes of request bodies.
    pub const HTTP_SERVER_REQUEST_BYTES: &str = "dapr_http_server_request_bytes";
    /// Sizes of response bodies.
    pub const HTTP_SERVER_RESPONSE_BYTES: &str = "dapr_http_server_response_bytes";
    /// Calls of the application over HTTP.
    pub const HTTP_CLIENT_COMPLETED_COUNT: &str = "dapr_http_client_completed_count";
    /// Their latency in ms.
    pub const HTTP_CLIENT_ROUNDTRIP_LATENCY: &str = "dapr_http_client_roundtrip_latency";
    /// Sizes of their bodies.
    pub const HTTP_CLIENT_SENT_BYTES: &str = "dapr_http_client_sent_bytes";
    /// Calls of the application over gRPC.
    pub const GRPC_CLIENT_COMPLETED_RPCS: &str = "dapr_grpc_io_client_completed_rpcs";
    /// Their latency in ms.
    pub const GRPC_CLIENT_ROUNDTRIP_LATENCY: &str = "dapr_grpc_io_client_roundtrip_latency";
    /// RPCs.
    pub const GRPC_SERVER_COMPLETED_RPCS: &str = "dapr_grpc_io_server_completed_rpcs";
    /// Their latency in ms.
    pub const GRPC_SERVER_LATENCY: &str = "dapr_grpc_io_server_server_latency";
    /// Sizes of requests.
    pub const GRPC_SERVER_RECEIVED_BYTES: &str = "dapr_grpc_io_server_received_bytes_per_rpc";
    /// Sizes of responses.
    pub const GRPC_SERVER_SENT_BYTES: &str = "dapr_grpc_io_server_sent_bytes_per_rpc";
    /// Errors by code.
    pub const ERROR_CODE_TOTAL: &str = "dapr_error_code_total";
    /// Calls made.
    pub const INVOCATION_SENT: &str = "dapr_runtime_service_invocation_req_sent_total";
    /// Calls taken.
    pub const INVOCATION_RECEIVED: &str = "dapr_runtime_service_invocation_req_recv_total";
    /// Calls answered.
    pub const INVOCATION_ANSWERS_SENT: &str = "dapr_runtime_service_invocation_res_sent_total";
    /// Answers received.
    pub const INVOCATION_ANSWERS: &str = "dapr_runtime_service_invocation_res_recv_total";
    /// Time to an answer in ms.
    pub const INVOCATION_LATENCY: &str = "dapr_runtime_service_invocation_res_recv_latency_ms";
    /// Calls allowed by rules for their caller.
    pub const ACL_APP_ALLOWED: &str = "dapr_runtime_acl_app_policy_action_allowed_total";
    /// Calls blocked by rules for their caller.
    pub const ACL_APP_BLOCKED: &str = "dapr_runtime_acl_app_policy_action_blocked_total";
    /// Calls allowed by the rule for everybody.
    pub const ACL_GLOBAL_ALLOWED: &str = "dapr_runtime_acl_global_policy_action_allowed_total";
    /// Calls blocked by the rule for everybody.
    pub const ACL_GLOBAL_BLOCKED: &str = "dapr_runtime_acl_global_policy_action_blocked_total";
    /// Resiliency resources loaded.
    pub const RESILIENCY_LOADED: &str = "dapr_resiliency_loaded";
    /// Operations that a policy applied to.
    pub const RESILIENCY_COUNT: &str = "dapr_resiliency_count";
    /// Policies that did something.
    pub const RESILIENCY_ACTIVATIONS_TOTAL: &str = "dapr_resiliency_activations_total";
    /// Where a circuit breaker stands.
    pub const RESILIENCY_CB_STATE: &str = "dapr_resiliency_cb_state";

    /// Generations of a plugin by state.
    pub const PLUGIN_GENERATIONS: &str = "mecha_plugin_generations";
    /// Whether a component's back end answers.
    pub const COMPONENT_HEALTHY: &str = "mecha_component_healthy";
    /// Since when that is so.
    pub const COMPONENT_HEALTH_SINCE: &str = "mecha_component_health_since_seconds";
    /// Swaps of a plugin by outcome.
    pub const PLUGIN_SWAPS_TOTAL: &str = "mecha_plugin_swaps_total";
    /// Calls inside a plugin now.
    pub const PLUGIN_IN_FLIGHT: &str = "mecha_plugin_in_flight";
    /// Panics caught at a plugin's boundary.
    pub const PLUGIN_PANICS_TOTAL: &str = "mecha_plugin_panics_total";
    /// Files refused by reason.
    pub const PLUGIN_REFUSED_TOTAL: &str = "mecha_plugin_refused_total";
    /// Time that one poll of a plugin's future held a worker.
    pub const PLUGIN_POLL_SECONDS: &str = "mecha_plugin_poll_seconds";
    /// Memory that a plugin's mappings hold.
    pub const PLUGIN_MAPPED_BYTES: &str = "mecha_plugin_mapped_bytes";
    /// Spans that an exporter delivered.
    pub const SPANS_EXPORTED_TOTAL: &str = "mecha_spans_exported_total";
    /// Spans that were lost by reason.
    pub const SPANS_DROPPED_TOTAL: &str = "mecha_spans_dropped_total";

    /// Processor time.
    pub const PROCESS_CPU_SECONDS_TOTAL: &str = "process_cpu_seconds_total";
    /// Open file descriptors.
    pub const PROCESS_OPEN_FDS: &str = "process_open_fds";
    /// Limit of file descriptors.
    pub const PROCESS_MAX_FDS: &str = "process_max_fds";
    /// Address space.
    pub const PROCESS_VIRTUAL_MEMORY_BYTES: &str = "process_virtual_memory_bytes";
    /// Resident memory.
    pub const PROCESS_RESIDENT_MEMORY_BYTES: &str = "process_resident_memory_bytes";
    /// Start of the process.
    pub const PROCESS_START_TIME_SECONDS: &str = "process_start_time_seconds";
    /// Threads.
    pub const PROCESS_THREADS: &str = "process_threads";
}

/// Labels of metrics.
pub mod label {
    /// The application.
    pub const APP_ID: &str = "app_id";
    /// Name of a component, or its type in the init metrics.
    pub const COMPONENT: &str = "component";
    /// Name of a component in the init metrics.
    pub const COMPONENT_NAME: &str = "componentName";
    /// Why a component's init failed: `creation` or `init`.
    pub const REASON: &str = "reason";
    /// The namespace.
    pub const NAMESPACE: &str = "namespace";
    /// The operation of a component.
    pub const OPERATION: &str = "operation";
    /// `true` or `false`.
    pub const SUCCESS: &str = "success";
    /// Topic of an event.
    pub const TOPIC: &str = "topic";
    /// What became of an event.
    pub const PROCESS_STATUS: &str = "process_status";
    /// HTTP verb.
    pub const METHOD: &str = "method";
    /// HTTP path as the cardinality rules leave it.
    pub const PATH: &str = "path";
    /// HTTP status.
    pub const STATUS: &str = "status";
    /// Full gRPC method.
    pub const GRPC_SERVER_METHOD: &str = "grpc_server_method";
    /// gRPC status by name.
    pub const GRPC_SERVER_STATUS: &str = "grpc_server_status";
    /// Full gRPC method that was called.
    pub const GRPC_CLIENT_METHOD: &str = "grpc_client_method";
    /// gRPC status that was answered, by name.
    pub const GRPC_CLIENT_STATUS: &str = "grpc_client_status";
    /// Dapr's error code.
    pub const ERROR_CODE: &str = "error_code";
    /// Dapr's category of the code.
    pub const CATEGORY: &str = "category";
    /// A resource.
    pub const NAME: &str = "name";
    /// A kind of policy.
    pub const POLICY: &str = "policy";
    /// To or from the application.
    pub const FLOW_DIRECTION: &str = "flow_direction";
    /// What a policy applies to.
    pub const TARGET: &str = "target";
    /// The application that is called.
    pub const DST_APP_ID: &str = "dst_app_id";
    /// The application that calls; of an answer, the one that was called.
    pub const SRC_APP_ID: &str = "src_app_id";
    /// `unary` or `streaming`.
    pub const TYPE: &str = "type";
    /// Who answers for a caller's identity.
    pub const TRUST_DOMAIN: &str = "trustDomain";
    /// A plugin file's stem.
    pub const PLUGIN: &str = "plugin";
    /// State of a generation.
    pub const STATE: &str = "state";
    /// Outcome of a swap.
    pub const OUTCOME: &str = "outcome";
}
