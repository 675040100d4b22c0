//! What the echo answers.

use mecha_plugin_api::conversation::{
    Conversation as _, ConverseRequest, ConverseResponse, Message, Part, Role, Tool, ToolCall, ToolResult,
};
use mecha_plugin_api::{CallContext, Metadata, ROption, RVec, Result};

use crate::echo::Echo;

fn text(text: &str) -> Message {
    message(vec![Part::Text(text.into())])
}

fn message(parts: Vec<Part>) -> Message {
    Message { role: Role::HUMAN, parts: parts.into() }
}

fn tool(name: &str, parameters: Option<&str>) -> Tool {
    let parameters = parameters.map(|json| json.as_bytes().to_vec().into());
    Tool { name: name.into(), description: "".into(), parameters: parameters.into() }
}

async fn converse(messages: Vec<Message>, tools: Vec<Tool>) -> Result<ConverseResponse> {
    let request = ConverseRequest {
        messages: messages.into(),
        tools: tools.into(),
        tool_choice: "".into(),
        temperature: 0.0,
        response_format: ROption::RNone,
        prompt_cache_retention_ns: ROption::RNone,
        metadata: Metadata::new(),
    };
    Echo.converse(&CallContext::background("app"), request).await
}

#[tokio::test]
async fn repeats_every_line_and_counts_its_words() {
    let answer = converse(vec![text("well  hello"), text("there\tyou")], Vec::new()).await.unwrap();
    assert_eq!((answer.outputs.len(), answer.outputs[0].len()), (1, 1));
    let choice = &answer.outputs[0][0];
    assert_eq!((choice.content.as_str(), choice.finish_reason.as_str()), ("well  hello\nthere\tyou", "stop"));
    assert!(choice.tool_calls.is_empty());
    let usage = answer.usage.unwrap();
    assert_eq!((usage.completion_tokens, usage.prompt_tokens, usage.total_tokens), (4, 4, 8));
}

#[tokio::test]
async fn nothing_said_is_nothing_answered() {
    let answer = converse(Vec::new(), Vec::new()).await.unwrap();
    assert_eq!(answer.outputs[0][0].content.as_str(), "");
    assert_eq!(answer.usage.unwrap().total_tokens, 0);
}

#[tokio::test]
async fn calls_every_tool_at_hand_and_then_those_of_the_conversation() {
    let schema = r#"{"type":"object","properties":{"b":{},"a":{"type":"string"}}}"#;
    let earlier = ToolCall { id: "call_1".into(), name: "f".into(), arguments: "{}".into() };
    let result = ToolResult { id: "call_1".into(), name: "f".into(), content: "sunny".into() };
    let said = vec![message(vec![Part::ToolCall(earlier.clone())]), message(vec![Part::ToolResult(result)])];
    let tools = vec![tool("first", Some(schema)), tool("second", None), tool("third", Some("{}"))];
    let answer = converse(said, tools).await.unwrap();
    let choice = &answer.outputs[0][0];
    assert_eq!(choice.finish_reason.as_str(), "tool_calls");
    assert_eq!(choice.content.as_str(), "Tool Response for tool ID 'call_1' with name 'f': sunny");
    let made = |id: &str, name: &str, arguments: &str| ToolCall {
        id: id.into(),
        name: name.into(),
        arguments: arguments.into(),
    };
    let expected: RVec<_> =
        vec![made("0", "first", "a,b"), made("1", "second", ""), made("2", "third", ""), earlier].into();
    assert_eq!(choice.tool_calls, expected);
}

#[tokio::test]
async fn refuses_schemas_that_are_none() {
    for (schema, reason) in [
        (r#"{"properties":[1]}"#, "tool function properties must be a map[string]any, got []interface {}"),
        (r#"{"properties":null}"#, "got <nil>"),
        ("[]", "no JSON object"),
        ("{", "no JSON"),
    ] {
        let error = converse(vec![text("x")], vec![tool("t", Some(schema))]).await.unwrap_err();
        assert!(error.message().contains(reason), "{schema}: {error}");
    }
}
