//! The semantics of conversations, with Dapr's errors.

use std::sync::Arc;

use http::StatusCode;
use mecha_plugin_api::conversation::{
    Choice, ConverseRequest, ConverseResponse, Message, Part, Role, Tool, ToolCall, ToolResult,
};
use mecha_plugin_api::{Metadata, ROption, RString};
use mecha_runtime::{Call, Conversation, Runtime};
use tonic::Code;

use super::scrub::Scrubber;
use crate::error::ApiError;

const CATEGORY: &str = "conversation";

/// A request, as either version of the API has it.
#[derive(Default)]
pub(super) struct Asked {
    pub(super) inputs: Vec<Input>,
    /// Personal data in the answer is replaced.
    pub(super) scrub: bool,
    pub(super) temperature: f64,
    /// The kinds that nobody knows are left out.
    pub(super) tools: Vec<Tool>,
    pub(super) tool_choice: String,
    /// A JSON object.
    pub(super) response_format: Option<Vec<u8>>,
    pub(super) prompt_cache_retention_ns: Option<u64>,
    pub(super) metadata: Metadata,
}

/// Messages that are treated alike.
pub(super) struct Input {
    pub(super) messages: Vec<Option<Said>>,
    /// Personal data in them is replaced.
    pub(super) scrub: bool,
}

/// One message.
pub(super) enum Said {
    /// Somebody's, with the calls of tools that the model wanted.
    Text { role: Role, content: Vec<String>, calls: Vec<Option<ToolCall>> },
    /// A tool's.
    Tool { id: String, name: String, content: Vec<String> },
}

/// Why a request is refused.
enum Fault<'a> {
    NotFound,
    NoInputs,
    Params(&'a str),
    Invoke(String),
}

/// The role that an earlier version's word stands for; whoever is not known is a human.
pub(super) fn role(word: &str) -> Role {
    match word {
        "system" => Role::SYSTEM,
        "assistant" | "ai" => Role::AI,
        "tool" => Role::TOOL,
        "function" => Role::FUNCTION,
        "generic" => Role::GENERIC,
        _ => Role::HUMAN,
    }
}

/// Says something to the model `name`.
pub(super) async fn converse(
    runtime: &Runtime,
    call: &Call,
    name: &str,
    asked: Asked,
) -> Result<ConverseResponse, ApiError> {
    let fault = |fault: Fault<'_>| fault.error(name);
    let model: Arc<Conversation> =
        runtime.registry().conversation(name).cloned().map_err(|_| fault(Fault::NotFound))?;
    if asked.inputs.is_empty() {
        return Err(fault(Fault::NoInputs));
    }
    let scrubs = asked.scrub || asked.inputs.iter().any(|input| input.scrub);
    let scrubber = scrubs.then(Scrubber::new);
    let mut messages = Vec::new();
    for input in asked.inputs {
        let scrubber = scrubber.as_ref().filter(|_| input.scrub);
        for said in input.messages {
            messages.push(message(said, scrubber).map_err(&fault)?);
        }
    }
    let tool_choice = choice_of_tool(asked.tool_choice, &asked.tools).map_err(&fault)?;
    let request = ConverseRequest {
        messages: messages.into(),
        tools: asked.tools.into(),
        tool_choice: tool_choice.into(),
        temperature: asked.temperature,
        response_format: asked.response_format.map(Into::into).into(),
        prompt_cache_retention_ns: asked.prompt_cache_retention_ns.into(),
        metadata: asked.metadata,
    };
    let mut answer =
        model.converse(call, request).await.map_err(|error| fault(Fault::Invoke(error.to_string())))?;
    if let Some(scrubber) = scrubber.filter(|_| asked.scrub) {
        let choices = answer.outputs.iter_mut().flat_map(|choices| choices.iter_mut());
        choices.for_each(|choice: &mut Choice| choice.content = scrubber.scrub(&choice.content).into());
    }
    Ok(answer)
}

fn message(said: Option<Said>, scrubber: Option<&Scrubber>) -> Result<Message, Fault<'static>> {
    let text = |text: String| -> RString {
        match scrubber {
            Some(scrubber) => scrubber.scrub(&text).into(),
            None => text.into(),
        }
    };
    match said.ok_or(Fault::Params("message type cannot be nil"))? {
        Said::Text { role, content, calls } => {
            let mut parts: Vec<_> = content.into_iter().map(|part| Part::Text(text(part))).collect();
            for call in calls {
                parts.push(Part::ToolCall(call.ok_or(Fault::Params("tool types cannot be nil"))?));
            }
            Ok(Message { role, parts: parts.into() })
        }
        Said::Tool { id, name, content } => {
            let part = |part| {
                let (id, name) = (id.as_str().into(), name.as_str().into());
                Part::ToolResult(ToolResult { id, name, content: text(part) })
            };
            let parts: Vec<_> = content.into_iter().map(part).collect();
            Ok(Message { role: Role::TOOL, parts: parts.into() })
        }
    }
}

fn choice_of_tool(choice: String, tools: &[Tool]) -> Result<String, Fault<'static>> {
    match choice.as_str() {
        "" if !tools.is_empty() => Ok("auto".to_owned()),
        "" | "auto" | "none" => Ok(choice),
        "required" if tools.is_empty() => Err(Fault::Params(
            "tool choice must be 'auto', 'none', 'required', or a specific tool name matching the tools available to be used",
        )),
        "required" => Ok(choice),
        // As in Dapr any name will do where there are no tools.
        name if tools.is_empty() || tools.iter().any(|tool| tool.name == name) => Ok(choice),
        _ => Err(Fault::Params(
            "tool choice selected was not found. Must be 'auto', 'none', 'required', or a specific tool name matching the tools available to be used",
        )),
    }
}

/// The one text of an output that the earlier version of the API has.
pub(super) fn first_text(choices: &[Choice]) -> String {
    choices.first().map(|choice| choice.content.to_string()).unwrap_or_default()
}

/// What is worth showing of an optional text.
pub(super) fn given(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// A function that the model may want called.
pub(super) fn function(name: String, description: String, parameters: Option<Vec<u8>>) -> Tool {
    let parameters = parameters.map_or(ROption::RNone, |json| ROption::RSome(json.into()));
    Tool { name: name.into(), description: description.into(), parameters }
}

impl Fault<'_> {
    fn error(self, name: &str) -> ApiError {
        let (bad, wrong) = (StatusCode::BAD_REQUEST, Code::InvalidArgument);
        let (code, http, grpc, message) = match self {
            Self::NotFound => {
                let message = format!("failed finding conversation component {name}");
                ("ERR_CONVERSATION_NOT_FOUND", bad, wrong, message)
            }
            Self::NoInputs => {
                let message = format!("failed conversing with component {name}: missing inputs in request");
                ("ERR_CONVERSATION_MISSING_INPUTS", bad, wrong, message)
            }
            Self::Params(reason) => {
                let message = format!("failed conversing with component {name}: invalid params: {reason}");
                ("ERR_CONVERSATION_INVALID_PARMS", bad, wrong, message)
            }
            Self::Invoke(reason) => {
                let message = format!("failed conversing with component {name}: {reason}");
                let (http, grpc) = (StatusCode::INTERNAL_SERVER_ERROR, Code::Internal);
                ("ERR_CONVERSATION_INVOKE", http, grpc, message)
            }
        };
        ApiError::new(code, CATEGORY, http, grpc, message)
    }
}
