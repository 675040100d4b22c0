//! What is said to a model, and what it answers.

use abi_stable::StableAbi;
use abi_stable::std_types::{ROption, RString, RVec};

use crate::{Buf, Metadata};

/// Who said something.
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Role(pub u8);

impl Role {
    /// A human.
    pub const HUMAN: Self = Self(0);
    /// Whoever set the conversation up.
    pub const SYSTEM: Self = Self(1);
    /// The model.
    pub const AI: Self = Self(2);
    /// A tool, with what it was asked for.
    pub const TOOL: Self = Self(3);
    /// A function, the older form of a tool.
    pub const FUNCTION: Self = Self(4);
    /// Somebody else.
    pub const GENERIC: Self = Self(5);
}

/// One part of a message.
#[repr(u8)]
#[derive(StableAbi, Clone, PartialEq, Debug)]
pub enum Part {
    /// Text.
    Text(RString),
    /// The model wanted a tool called.
    ToolCall(ToolCall),
    /// What a tool gave.
    ToolResult(ToolResult),
}

/// A tool that is to be called.
#[repr(C)]
#[derive(StableAbi, Clone, PartialEq, Debug, Default)]
pub struct ToolCall {
    /// Which call it is; empty where the model has no ids.
    pub id: RString,
    /// The tool.
    pub name: RString,
    /// Its arguments, as the model wrote them: mostly JSON, but nobody vouches for it.
    pub arguments: RString,
}

/// What a tool gave.
#[repr(C)]
#[derive(StableAbi, Clone, PartialEq, Debug, Default)]
pub struct ToolResult {
    /// [`ToolCall::id`].
    pub id: RString,
    /// The tool.
    pub name: RString,
    /// The result.
    pub content: RString,
}

/// One message of a conversation.
#[repr(C)]
#[derive(StableAbi, Clone, PartialEq, Debug)]
pub struct Message {
    /// Whose it is.
    pub role: Role,
    /// What it says, in order.
    pub parts: RVec<Part>,
}

/// A tool that the model may want called.
#[repr(C)]
#[derive(StableAbi, Clone, Debug)]
pub struct Tool {
    /// Its name.
    pub name: RString,
    /// What it is for.
    pub description: RString,
    /// JSON Schema of its arguments, a JSON object; absent for a tool without arguments.
    pub parameters: ROption<Buf>,
}

/// What is said to the model.
#[repr(C)]
#[derive(StableAbi, Clone, Debug)]
pub struct ConverseRequest {
    /// The conversation so far.
    pub messages: RVec<Message>,
    /// The tools at hand.
    pub tools: RVec<Tool>,
    /// `auto`, `none`, `required` or the name of a tool; empty when there is nothing to choose.
    pub tool_choice: RString,
    /// From predictable to creative; 0 = as the model likes.
    pub temperature: f64,
    /// JSON Schema that the answer must follow, a JSON object.
    pub response_format: ROption<Buf>,
    /// How long the provider may keep what is the same in the next request, in nanoseconds.
    pub prompt_cache_retention_ns: ROption<u64>,
    /// Request metadata.
    pub metadata: Metadata,
}

/// One of the answers that the model offers.
#[repr(C)]
#[derive(StableAbi, Clone, PartialEq, Debug, Default)]
pub struct Choice {
    /// Why it ends there: `stop`, `length`, `tool_calls`, `content_filter`.
    pub finish_reason: RString,
    /// Its place among the choices.
    pub index: i64,
    /// The answer's text.
    pub content: RString,
    /// The tools that the model wants called.
    pub tool_calls: RVec<ToolCall>,
}

/// What the model answers.
#[repr(C)]
#[derive(StableAbi, Clone, PartialEq, Debug, Default)]
pub struct ConverseResponse {
    /// One list of choices for each output; most models have one output.
    pub outputs: RVec<RVec<Choice>>,
    /// Which model answered; empty when it has no name.
    pub model: RString,
    /// What it cost.
    pub usage: ROption<Usage>,
}

/// Tokens that a request cost.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    /// Of the answer.
    pub completion_tokens: u64,
    /// Of the request.
    pub prompt_tokens: u64,
    /// Of both.
    pub total_tokens: u64,
    /// What the answer's consist of.
    pub completion_details: ROption<CompletionDetails>,
    /// What the request's consist of.
    pub prompt_details: ROption<PromptDetails>,
}

/// What an answer's tokens consist of.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CompletionDetails {
    /// Predicted, and right.
    pub accepted_prediction_tokens: u64,
    /// Audio.
    pub audio_tokens: u64,
    /// Thought and not said.
    pub reasoning_tokens: u64,
    /// Predicted, and wrong.
    pub rejected_prediction_tokens: u64,
}

/// What a request's tokens consist of.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PromptDetails {
    /// Audio.
    pub audio_tokens: u64,
    /// Known from an earlier request.
    pub cached_tokens: u64,
}
