//! `conversation.echo`: the answer is the question.

use mecha_plugin_api::conversation::{
    Choice, Conversation, ConverseRequest, ConverseResponse, Message, Part, Tool, ToolCall, Usage,
};
use mecha_plugin_api::{CallContext, ComponentSpec, Error, ROption, RVec, Result};
use serde_json::Value;

/// A model that repeats what it is told.
pub(crate) struct Echo;

impl Echo {
    pub(crate) async fn open(_spec: ComponentSpec) -> Result<Self> {
        Ok(Self)
    }
}

impl Conversation for Echo {
    async fn converse(&self, _context: &CallContext, request: ConverseRequest) -> Result<ConverseResponse> {
        let (content, repeated) = said(request.messages);
        let mut tool_calls = called(&request.tools)?;
        tool_calls.extend(repeated);
        let finish_reason = if tool_calls.is_empty() { "stop" } else { "tool_calls" };
        // As in Dapr a word counts as a token.
        let tokens = content.split_whitespace().count() as u64;
        let usage = Usage {
            completion_tokens: tokens,
            prompt_tokens: tokens,
            total_tokens: tokens * 2,
            ..Usage::default()
        };
        let choice = Choice {
            finish_reason: finish_reason.into(),
            index: 0,
            content: content.into(),
            tool_calls: tool_calls.into(),
        };
        let outputs = RVec::from(vec![RVec::from(vec![choice])]);
        Ok(ConverseResponse { outputs, usage: ROption::RSome(usage), ..ConverseResponse::default() })
    }
}

/// Everything that was said, a line for each part, and the calls of tools in between.
fn said(messages: RVec<Message>) -> (String, Vec<ToolCall>) {
    let (mut lines, mut calls) = (Vec::new(), Vec::new());
    for part in messages.into_iter().flat_map(|message| message.parts) {
        match part {
            Part::Text(text) => lines.push(text.into_string()),
            Part::ToolCall(call) => calls.push(call),
            Part::ToolResult(result) => lines.push(format!(
                "Tool Response for tool ID '{}' with name '{}': {}",
                result.id, result.name, result.content
            )),
        }
    }
    (lines.join("\n"), calls)
}

/// A call of each tool that is at hand. Its arguments are their names, in order.
fn called(tools: &[Tool]) -> Result<Vec<ToolCall>> {
    let call = |(number, tool): (usize, &Tool)| {
        Ok(ToolCall {
            id: number.to_string().into(),
            name: tool.name.clone(),
            arguments: argument_names(tool)?.into(),
        })
    };
    tools.iter().enumerate().map(call).collect()
}

fn argument_names(tool: &Tool) -> Result<String> {
    let ROption::RSome(parameters) = &tool.parameters else { return Ok(String::new()) };
    let schema: Value = serde_json::from_slice(parameters).map_err(|error| {
        Error::invalid(format!("the parameters of tool {} are no JSON: {error}", tool.name))
    })?;
    let Value::Object(schema) = schema else {
        return Err(Error::invalid(format!("the parameters of tool {} are no JSON object", tool.name)));
    };
    match schema.get("properties") {
        None => Ok(String::new()),
        Some(Value::Object(properties)) => {
            let mut names: Vec<_> = properties.keys().map(String::as_str).collect();
            names.sort_unstable();
            Ok(names.join(","))
        }
        Some(other) => Err(Error::invalid(format!(
            "tool function properties must be a map[string]any, got {}",
            go_type(other)
        ))),
    }
}

/// What Go calls a JSON value that is no object; the error above is Dapr's.
fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(_) => "float64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}
