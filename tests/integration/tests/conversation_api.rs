//! Conversations over HTTP and gRPC, in both versions of the API, with the model that repeats what it is told.

#[path = "support/http_error.rs"]
mod http_error;

use std::collections::HashMap;

use http_error::assert_http;
use mecha_proto::runtime::v1::conversation_message::MessageTypes;
use mecha_proto::runtime::v1::conversation_tool_calls::ToolTypes as CallTypes;
use mecha_proto::runtime::v1::conversation_tools::ToolTypes;
use mecha_proto::runtime::v1::{
    ConversationInput, ConversationInputAlpha2, ConversationMessage, ConversationMessageContent,
    ConversationMessageOfAssistant, ConversationMessageOfTool, ConversationMessageOfUser,
    ConversationRequest, ConversationRequestAlpha2, ConversationToolCalls, ConversationTools,
    ConversationToolsFunction,
};
use mecha_proto::{Any, Kind, Struct};
use mecha_testkit::{Mecha, Reply};
use serde_json::{Value, json};
use tonic::Code;

async fn runtime() -> Mecha {
    let builder = Mecha::builder().plugin("conversation").component("echo", "conversation.echo");
    builder.start().await.unwrap()
}

async fn post(mecha: &Mecha, version: &str, name: &str, body: &Value) -> Reply {
    let url = mecha.http_url(&format!("/{version}/conversation/{name}/converse"));
    mecha.http().post(&url, body.to_string()).await.unwrap()
}

/// What the echo answers, over HTTP.
async fn answer(mecha: &Mecha, version: &str, body: Value) -> Value {
    let reply = post(mecha, version, "echo", &body).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.header("content-type"), "application/json");
    reply.json().unwrap()
}

#[tokio::test]
async fn the_first_version_repeats_over_http() {
    let mecha = runtime().await;
    let parameters =
        json!({"max": {"@type": "type.googleapis.com/google.protobuf.Int64Value", "value": "100"}});
    for (body, expected) in [
        (
            json!({"inputs": [{"content": "well hello there"}]}),
            json!({"outputs": [{"result": "well hello there"}]}),
        ),
        (
            json!({"inputs": [{"content": "a", "role": "system"}, {"content": "b"}], "contextID": "c", "temperature": 0.5,
                "metadata": {"model": "m"}, "unknown": {"x": []}}),
            json!({"contextID": "c", "outputs": [{"result": "a\nb"}]}),
        ),
        (
            json!({"inputs": [{"content": "a"}], "parameters": parameters}),
            json!({"outputs": [{"result": "a", "parameters": parameters}]}),
        ),
        (json!({"inputs": [{}]}), json!({"outputs": [{}]})),
        (
            json!({"inputs": [{"content": "from 10.8.9.1", "scrubPII": true}, {"content": "not 10.8.9.2"}]}),
            json!({"outputs": [{"result": "from <IP>\nnot 10.8.9.2"}]}),
        ),
        (
            json!({"inputs": [{"content": "from 10.8.9.1"}, {"content": "my email is test@test.com"}], "scrubPII": true}),
            json!({"outputs": [{"result": "from <IP>\nmy email is <EMAIL_ADDRESS>"}]}),
        ),
    ] {
        assert_eq!(answer(&mecha, "v1.0-alpha1", body.clone()).await, expected, "{body}");
    }
}

fn user(text: &str) -> Value {
    json!({"ofUser": {"name": "n", "content": [{"text": text}]}})
}

fn usage(words: u64) -> Value {
    json!({"completionTokens": words.to_string(), "promptTokens": words.to_string(), "totalTokens": (words * 2).to_string()})
}

fn said(content: &str, words: u64) -> Value {
    json!({"outputs": [{"choices": [{"finishReason": "stop", "message": {"content": content}}], "usage": usage(words)}]})
}

#[tokio::test]
async fn the_second_version_takes_every_kind_of_message_over_http() {
    let mecha = runtime().await;
    let of = |kind: &str, text: &str| json!({kind: {"name": "n", "content": [{"text": text}]}});
    for (messages, expected) in [
        (json!([user("user message")]), said("user message", 2)),
        (json!([of("ofSystem", "system message")]), said("system message", 2)),
        (json!([of("ofDeveloper", "developer message")]), said("developer message", 2)),
        (json!([of("ofAssistant", "assistant message")]), said("assistant message", 2)),
        (
            json!([{"ofTool": {"toolId": "tool-123", "name": "tool name", "content": [{"text": "tool message"}]}}]),
            said("Tool Response for tool ID 'tool-123' with name 'tool name': tool message", 12),
        ),
        (
            json!([user("first"), of("ofAssistant", "second"), of("of_system", "third one")]),
            said("first\nsecond\nthird one", 4),
        ),
        (
            json!([]),
            json!({"outputs": [{"choices": [{"finishReason": "stop", "message": {}}], "usage": {}}]}),
        ),
    ] {
        let body = json!({"inputs": [{"messages": messages}]});
        assert_eq!(answer(&mecha, "v1.0-alpha2", body.clone()).await, expected, "{body}");
    }
    let calls = json!([{"id": "call_123", "function": {"name": "test_function", "arguments": "{\"test\": \"value\"}"}}]);
    let message = json!({"ofAssistant": {"content": [{"text": "assistant message"}], "toolCalls": calls}});
    let expected = json!({"outputs": [{"choices": [{"finishReason": "tool_calls",
        "message": {"content": "assistant message", "toolCalls": calls}}], "usage": usage(2)}]});
    let body = json!({"inputs": [{"messages": [message]}]});
    assert_eq!(answer(&mecha, "v1.0-alpha2", body).await, expected);
}

#[tokio::test]
async fn the_second_version_takes_every_field_over_http() {
    let mecha = runtime().await;
    let schema = json!({"type": "object", "properties": {"param1": {"type": "string"}, "a": {}}, "required": ["param1"]});
    let tool = json!({"function": {"name": "test_function", "description": "A test function", "parameters": schema}});
    let body = json!({
        "name": "not-this",
        "contextId": "test-conversation-123",
        "inputs": [
            {"messages": [user("well hello there")], "scrubPII": false},
            {"messages": [{"ofSystem": {"content": [{"text": "You are test@test.com"}]}}], "scrubPii": true},
        ],
        "parameters": {"model": {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": "m"}},
        "metadata": {"api_key": "test-key", "version": "1.0"},
        "scrubPii": true,
        "temperature": 0.7,
        "responseFormat": {"type": "object", "properties": {"result": {"type": "string"}}},
        "promptCacheRetention": "86400s",
        "tools": [tool],
        "toolChoice": "auto",
    });
    let calls = json!([{"id": "0", "function": {"name": "test_function", "arguments": "a,param1"}}]);
    let message = json!({"content": "well hello there\nYou are <EMAIL_ADDRESS>", "toolCalls": calls});
    let expected = json!({"contextId": "test-conversation-123",
        "outputs": [{"choices": [{"finishReason": "tool_calls", "message": message}], "usage": usage(6)}]});
    assert_eq!(answer(&mecha, "v1.0-alpha2", body).await, expected);
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused_over_http() {
    let mecha = runtime().await;
    let alpha2 = |message: Value| json!({"inputs": [{"messages": [message]}]});
    let params = |reason: &str| format!("failed conversing with component echo: invalid params: {reason}");
    let missing = "failed conversing with component echo: missing inputs in request";
    let tool = json!({"function": {"name": "f", "parameters": {"properties": {}}}});
    let chosen = |choice: &str, tools: Value| json!({"inputs": [{"messages": [user("x")]}], "toolChoice": choice, "tools": tools});
    for (version, name, body, status, code, message) in [
        ("v1.0-alpha1", "none", json!({}), 400, "ERR_CONVERSATION_NOT_FOUND", "failed finding conversation component none".to_owned()),
        ("v1.0-alpha2", "none", json!({}), 400, "ERR_CONVERSATION_NOT_FOUND", "failed finding conversation component none".to_owned()),
        ("v1.0-alpha1", "echo", json!({"metadata": {"model": "m"}}), 400, "ERR_CONVERSATION_MISSING_INPUTS", missing.to_owned()),
        ("v1.0-alpha2", "echo", json!({"inputs": []}), 400, "ERR_CONVERSATION_MISSING_INPUTS", missing.to_owned()),
        ("v1.0-alpha2", "echo", alpha2(json!({"invalidField": {}})), 400, "ERR_CONVERSATION_INVALID_PARMS", params("message type cannot be nil")),
        (
            "v1.0-alpha2",
            "echo",
            alpha2(json!({"ofAssistant": {"toolCalls": [{"id": "call_123"}]}})),
            400,
            "ERR_CONVERSATION_INVALID_PARMS",
            params("tool types cannot be nil"),
        ),
        (
            "v1.0-alpha2",
            "echo",
            chosen("required", json!([])),
            400,
            "ERR_CONVERSATION_INVALID_PARMS",
            params("tool choice must be 'auto', 'none', 'required', or a specific tool name matching the tools available to be used"),
        ),
        (
            "v1.0-alpha2",
            "echo",
            chosen("g", json!([tool])),
            400,
            "ERR_CONVERSATION_INVALID_PARMS",
            params("tool choice selected was not found. Must be 'auto', 'none', 'required', or a specific tool name matching the tools available to be used"),
        ),
        (
            "v1.0-alpha2",
            "echo",
            chosen("", json!([{"function": {"name": "f", "parameters": {"properties": "x"}}}])),
            500,
            "ERR_CONVERSATION_INVOKE",
            "failed conversing with component echo: tool function properties must be a map[string]any, got string".to_owned(),
        ),
    ] {
        assert_http(&post(&mecha, version, name, &body).await, status, code, &message);
    }
    for body in [
        json!([]),
        json!({"inputs": 5}),
        json!({"inputs": [{"content": 5}]}),
        json!({"inputs": [{"messages": [{"ofUser": "text"}]}], "parameters": {"x": {"value": 1}}}),
    ] {
        for version in ["v1.0-alpha1", "v1.0-alpha2"] {
            let reply = post(&mecha, version, "echo", &body).await;
            let is_malformed = reply.json().unwrap()["errorCode"] == "ERR_MALFORMED_REQUEST";
            // What only the other version has is unknown, and nobody minds.
            let is_other = version == "v1.0-alpha2" && body["inputs"][0]["content"].is_number();
            assert!(is_malformed || is_other, "{version} {body}: {}", reply.text());
        }
    }
    for body in [
        json!({"inputs": [{"messages": []}], "promptCacheRetention": "soon"}),
        json!({"inputs": [{"messages": []}], "responseFormat": []}),
    ] {
        let reply = post(&mecha, "v1.0-alpha2", "echo", &body).await;
        assert_eq!(reply.json().unwrap()["errorCode"], "ERR_MALFORMED_REQUEST", "{body}: {}", reply.text());
    }
    assert!(chosen("f", json!([tool]))["tools"].is_array());
    assert_eq!(post(&mecha, "v1.0-alpha2", "echo", &chosen("f", json!([tool]))).await.status, 200);
}

fn content(text: &str) -> Vec<ConversationMessageContent> {
    vec![ConversationMessageContent { text: text.to_owned() }]
}

fn message(types: MessageTypes) -> ConversationMessage {
    ConversationMessage { message_types: Some(types) }
}

#[tokio::test]
async fn the_first_version_repeats_over_grpc() {
    let mecha = runtime().await;
    let mut grpc = mecha.grpc().await.unwrap();
    let any = Any { type_url: "type.googleapis.com/x".to_owned(), value: vec![1, 2] };
    let parameters = HashMap::from([("p".to_owned(), any)]);
    let input = |text: &str, scrub| ConversationInput {
        content: text.to_owned(),
        role: None,
        scrub_pii: Some(scrub),
    };
    let request = ConversationRequest {
        name: "echo".to_owned(),
        context_id: Some("c".to_owned()),
        inputs: vec![input("my phone number is +2222222222", true), input("b", false)],
        parameters: parameters.clone(),
        ..ConversationRequest::default()
    };
    let answer = grpc.converse_alpha1(request).await.unwrap().into_inner();
    assert_eq!(answer.context_id.as_deref(), Some("c"));
    assert_eq!(answer.outputs.len(), 1);
    assert_eq!(answer.outputs[0].result, "my phone number is <PHONE_NUMBER>\nb");
    assert_eq!(answer.outputs[0].parameters, parameters);
    let refused = grpc.converse_alpha1(ConversationRequest { name: "none".to_owned(), ..Default::default() });
    let refused = refused.await.unwrap_err();
    assert_eq!(
        (refused.code(), refused.message()),
        (Code::InvalidArgument, "failed finding conversation component none")
    );
}

#[tokio::test]
async fn the_second_version_repeats_over_grpc() {
    let mecha = runtime().await;
    let mut grpc = mecha.grpc().await.unwrap();
    let call = ConversationToolCalls {
        id: Some("id 1".to_owned()),
        tool_types: Some(CallTypes::Function(Default::default())),
    };
    let messages = vec![
        message(MessageTypes::OfUser(ConversationMessageOfUser {
            name: None,
            content: content("well hello there from 10.8.9.1"),
        })),
        message(MessageTypes::OfAssistant(ConversationMessageOfAssistant {
            tool_calls: vec![call.clone()],
            ..Default::default()
        })),
        message(MessageTypes::OfTool(ConversationMessageOfTool {
            tool_id: Some("id 1".to_owned()),
            name: "f".to_owned(),
            content: content("sunny"),
        })),
    ];
    let schema = |kind| Struct { fields: [("properties".to_owned(), mecha_value(kind))].into() };
    let arguments = Struct { fields: [("city".to_owned(), mecha_value(Kind::NumberValue(1.0)))].into() };
    let tool = |parameters| ConversationTools {
        tool_types: Some(ToolTypes::Function(ConversationToolsFunction {
            name: "f".to_owned(),
            description: None,
            parameters,
        })),
    };
    let request = ConversationRequestAlpha2 {
        name: "echo".to_owned(),
        inputs: vec![ConversationInputAlpha2 { messages, scrub_pii: Some(true) }],
        tools: vec![
            tool(Some(schema(Kind::StructValue(arguments)))),
            ConversationTools { tool_types: None },
            tool(None),
        ],
        ..ConversationRequestAlpha2::default()
    };
    let mut answer = grpc.converse_alpha2(request.clone()).await.unwrap().into_inner();
    assert_eq!((answer.outputs.len(), answer.context_id), (1, None));
    let mut output = answer.outputs.remove(0);
    assert_eq!((output.choices.len(), output.model), (1, None));
    let choice = output.choices.remove(0);
    assert_eq!(choice.finish_reason, "tool_calls");
    let shown = choice.message.unwrap();
    let expected = "well hello there from <IP>\nTool Response for tool ID 'id 1' with name 'f': sunny";
    assert_eq!(shown.content, expected);
    let ids: Vec<_> = shown.tool_calls.iter().map(|call| call.id.as_deref().unwrap()).collect();
    assert_eq!(ids, ["0", "1", "id 1"]);
    let made = shown.tool_calls[0].tool_types.as_ref();
    assert!(matches!(made, Some(CallTypes::Function(made)) if made.name == "f" && made.arguments == "city"));
    assert_eq!(shown.tool_calls[2], call);
    assert_eq!(output.usage.unwrap().total_tokens, 2 * 16);

    let mut wrong = request;
    wrong.inputs[0].messages.push(ConversationMessage { message_types: None });
    let refused = grpc.converse_alpha2(wrong).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().ends_with("invalid params: message type cannot be nil"), "{refused}");
}

fn mecha_value(kind: Kind) -> mecha_proto::Value {
    mecha_proto::Value { kind: Some(kind) }
}

#[tokio::test]
async fn requests_are_measured() {
    let mecha = runtime().await;
    answer(&mecha, "v1.0-alpha1", json!({"inputs": [{"content": "x"}]})).await;
    let metrics = mecha.metrics().await.unwrap();
    let line = metrics.lines().find(|line| line.starts_with("dapr_component_conversation_count{"));
    let line = line.unwrap_or_else(|| panic!("no such family in {metrics}"));
    assert!(line.contains("component=\"echo\"") && line.contains("success=\"true\""), "{line}");
    assert!(!line.contains("operation="), "{line}");
}
