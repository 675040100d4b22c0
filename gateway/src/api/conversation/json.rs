//! The JSON of the newer version, as protobuf maps it: absent is the default, 64-bit numbers are texts.

use mecha_plugin_api::conversation::{Choice, Role, Tool, ToolCall, Usage};
use mecha_proto::{Kind, Struct};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value, json};

use super::service::{self, Asked, Input, Said, function};
use crate::error::ApiError;
use crate::http::json::{MetadataObject, Object, nullable, parse};
use crate::http::request::Request;
use crate::http::response::Reply;

/// A number that may be written as a text.
#[derive(Default)]
pub(super) struct Wide(pub(super) f64);

impl<'de> Deserialize<'de> for Wide {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let number = match Value::deserialize(from)? {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        number.map(Self).ok_or_else(|| D::Error::custom("a number is expected"))
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request2<'a> {
    #[serde(default, alias = "context_id", deserialize_with = "nullable")]
    context_id: String,
    #[serde(default, deserialize_with = "nullable")]
    inputs: Vec<Object<Input2>>,
    #[serde(default)]
    metadata: Option<MetadataObject>,
    #[serde(default, alias = "scrub_pii", deserialize_with = "nullable")]
    scrub_pii: bool,
    #[serde(default, deserialize_with = "nullable")]
    temperature: Wide,
    #[serde(default, borrow, deserialize_with = "nullable")]
    tools: Vec<Object<Tool2<'a>>>,
    #[serde(default, alias = "tool_choice", deserialize_with = "nullable")]
    tool_choice: String,
    #[serde(default, borrow, alias = "response_format")]
    response_format: Option<&'a RawValue>,
    #[serde(default, alias = "prompt_cache_retention", deserialize_with = "nullable")]
    prompt_cache_retention: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Input2 {
    #[serde(default, deserialize_with = "nullable")]
    messages: Vec<Object<Message2>>,
    #[serde(default, alias = "scrub_pii", deserialize_with = "nullable")]
    scrub_pii: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Message2 {
    #[serde(default, alias = "of_developer")]
    of_developer: Option<Object<Text2>>,
    #[serde(default, alias = "of_system")]
    of_system: Option<Object<Text2>>,
    #[serde(default, alias = "of_user")]
    of_user: Option<Object<Text2>>,
    #[serde(default, alias = "of_assistant")]
    of_assistant: Option<Object<Text2>>,
    #[serde(default, alias = "of_tool")]
    of_tool: Option<Object<ToolText2>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Text2 {
    #[serde(default, deserialize_with = "nullable")]
    content: Vec<Object<Content2>>,
    /// Only the model's own messages have them.
    #[serde(default, alias = "tool_calls", deserialize_with = "nullable")]
    tool_calls: Vec<Object<Call2>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ToolText2 {
    #[serde(default, alias = "tool_id", deserialize_with = "nullable")]
    tool_id: String,
    #[serde(default, deserialize_with = "nullable")]
    name: String,
    #[serde(default, deserialize_with = "nullable")]
    content: Vec<Object<Content2>>,
}

#[derive(Deserialize)]
struct Content2 {
    #[serde(default, deserialize_with = "nullable")]
    text: String,
}

#[derive(Deserialize)]
struct Call2 {
    #[serde(default, deserialize_with = "nullable")]
    id: String,
    #[serde(default)]
    function: Option<Object<Function2>>,
}

#[derive(Deserialize)]
struct Function2 {
    #[serde(default, deserialize_with = "nullable")]
    name: String,
    #[serde(default, deserialize_with = "nullable")]
    arguments: String,
}

#[derive(Deserialize)]
struct Tool2<'a> {
    #[serde(default, borrow)]
    function: Option<Object<ToolFunction2<'a>>>,
}

#[derive(Deserialize)]
struct ToolFunction2<'a> {
    #[serde(default, deserialize_with = "nullable")]
    name: String,
    #[serde(default, deserialize_with = "nullable")]
    description: String,
    #[serde(default, borrow)]
    parameters: Option<&'a RawValue>,
}

pub(super) async fn converse(name: &str, request: &Request<'_>) -> Result<Reply, ApiError> {
    let said = match request.body.is_empty() {
        true => Request2::default(),
        false => parse::<Object<Request2<'_>>>(request.body)?.0,
    };
    let tools = said.tools.into_iter().filter_map(|Object(tool)| tool.function);
    let input = |Object(input): Object<Input2>| Input {
        messages: input.messages.into_iter().map(|Object(message)| message.said()).collect(),
        scrub: input.scrub_pii,
    };
    let asked = Asked {
        inputs: said.inputs.into_iter().map(input).collect(),
        scrub: said.scrub_pii,
        temperature: said.temperature.0,
        tools: tools.map(|Object(tool)| tool.tool()).collect::<Result<_, _>>()?,
        tool_choice: said.tool_choice,
        response_format: said.response_format.map(object).transpose()?.flatten(),
        prompt_cache_retention_ns: nanoseconds(&said.prompt_cache_retention)?,
        metadata: said.metadata.unwrap_or_default().merged(&mecha_plugin_api::Metadata::new()),
    };
    let answer = service::converse(request.runtime, request.call, name, asked).await?;
    let usage = answer.usage.into_option();
    let outputs: Vec<Value> = answer
        .outputs
        .into_iter()
        .map(|choices| {
            let mut output = Shown::default();
            output.list("choices", choices.into_iter().map(choice).collect());
            output.text("model", &answer.model);
            if let Some(usage) = usage {
                output.value("usage", shown_usage(&usage));
            }
            output.done()
        })
        .collect();
    let mut shown = Shown::default();
    shown.text("contextId", &said.context_id);
    shown.list("outputs", outputs);
    Ok(Reply::of(&shown.done()))
}

impl Message2 {
    /// Of several types the last one counts, as in protobuf.
    fn said(self) -> Option<Said> {
        if let Some(Object(message)) = self.of_tool {
            let (id, name, content) = (message.tool_id, message.name, texts(message.content));
            return Some(Said::Tool { id, name, content });
        }
        if let Some(Object(message)) = self.of_assistant {
            let calls = message.tool_calls.into_iter().map(|Object(call)| call.call()).collect();
            return Some(Said::Text { role: Role::AI, content: texts(message.content), calls });
        }
        let others =
            [(self.of_user, Role::HUMAN), (self.of_system, Role::SYSTEM), (self.of_developer, Role::HUMAN)];
        let (Object(message), role) =
            others.into_iter().find_map(|(message, role)| Some((message?, role)))?;
        Some(Said::Text { role, content: texts(message.content), calls: Vec::new() })
    }
}

fn texts(content: Vec<Object<Content2>>) -> Vec<String> {
    content.into_iter().map(|Object(part)| part.text).collect()
}

impl Call2 {
    fn call(self) -> Option<ToolCall> {
        let Object(function) = self.function?;
        Some(ToolCall {
            id: self.id.into(),
            name: function.name.into(),
            arguments: function.arguments.into(),
        })
    }
}

impl ToolFunction2<'_> {
    fn tool(self) -> Result<Tool, ApiError> {
        let parameters = self.parameters.map(object).transpose()?.flatten();
        Ok(function(self.name, self.description, parameters))
    }
}

/// A JSON object, or nothing for `null`.
fn object(json: &RawValue) -> Result<Option<Vec<u8>>, ApiError> {
    match json.get().as_bytes() {
        b"null" => Ok(None),
        text @ [b'{', ..] => Ok(Some(text.to_vec())),
        _ => Err(ApiError::malformed_body("an object is expected")),
    }
}

/// Seconds with an `s` behind them, as protobuf writes durations. What lies in the past is no time at all.
fn nanoseconds(text: &str) -> Result<Option<u64>, ApiError> {
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = || ApiError::malformed_body(format!("invalid duration \"{text}\""));
    let seconds: f64 = text.strip_suffix('s').and_then(|seconds| seconds.parse().ok()).ok_or_else(wrong)?;
    if !seconds.is_finite() {
        return Err(wrong());
    }
    let duration = std::time::Duration::try_from_secs_f64(seconds.max(0.0)).map_err(|_| wrong())?;
    Ok(Some(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
}

/// A schema as JSON.
pub(super) fn schema(schema: Struct) -> Vec<u8> {
    // Values that come from protobuf always become JSON.
    serde_json::to_vec(&fields(schema)).unwrap_or_default()
}

fn fields(schema: Struct) -> Value {
    Value::Object(schema.fields.into_iter().map(|(name, field)| (name, value(field.kind))).collect())
}

fn value(kind: Option<Kind>) -> Value {
    match kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(value)) => Value::Bool(value),
        Some(Kind::StringValue(text)) => Value::String(text),
        Some(Kind::NumberValue(value)) => number(value),
        Some(Kind::StructValue(schema)) => fields(schema),
        Some(Kind::ListValue(list)) => list.values.into_iter().map(|item| value(item.kind)).collect(),
    }
}

/// Whole numbers stay whole: to protobuf all are floating.
fn number(value: f64) -> Value {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() <= EXACT {
        #[expect(clippy::cast_possible_truncation, reason = "whole and small, as was just seen")]
        return Value::from(value as i64);
    }
    Number::from_f64(value).map_or(Value::Null, Value::Number)
}

/// An object that leaves defaults out.
#[derive(Default)]
struct Shown(Map<String, Value>);

impl Shown {
    fn text(&mut self, name: &str, text: &str) {
        if !text.is_empty() {
            self.value(name, Value::from(text));
        }
    }

    /// 64 bits are a text.
    fn wide(&mut self, name: &str, number: u64) {
        if number != 0 {
            self.value(name, Value::from(number.to_string()));
        }
    }

    fn list(&mut self, name: &str, items: Vec<Value>) {
        if !items.is_empty() {
            self.value(name, Value::from(items));
        }
    }

    fn value(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }

    fn done(self) -> Value {
        Value::Object(self.0)
    }
}

fn choice(choice: Choice) -> Value {
    let call = |call: ToolCall| {
        let mut function = Shown::default();
        function.text("name", &call.name);
        function.text("arguments", &call.arguments);
        let mut shown = Shown::default();
        shown.text("id", &call.id);
        shown.value("function", function.done());
        shown.done()
    };
    let mut message = Shown::default();
    message.text("content", &choice.content);
    message.list("toolCalls", choice.tool_calls.into_iter().map(call).collect());
    let mut shown = Shown::default();
    shown.text("finishReason", &choice.finish_reason);
    if choice.index != 0 {
        shown.value("index", json!(choice.index.to_string()));
    }
    shown.value("message", message.done());
    shown.done()
}

fn shown_usage(usage: &Usage) -> Value {
    let mut shown = Shown::default();
    shown.wide("completionTokens", usage.completion_tokens);
    shown.wide("promptTokens", usage.prompt_tokens);
    shown.wide("totalTokens", usage.total_tokens);
    if let Some(details) = usage.completion_details.into_option() {
        let mut of = Shown::default();
        of.wide("acceptedPredictionTokens", details.accepted_prediction_tokens);
        of.wide("audioTokens", details.audio_tokens);
        of.wide("reasoningTokens", details.reasoning_tokens);
        of.wide("rejectedPredictionTokens", details.rejected_prediction_tokens);
        shown.value("completionTokensDetails", of.done());
    }
    if let Some(details) = usage.prompt_details.into_option() {
        let mut of = Shown::default();
        of.wide("audioTokens", details.audio_tokens);
        of.wide("cachedTokens", details.cached_tokens);
        shown.value("promptTokensDetails", of.done());
    }
    shown.done()
}
