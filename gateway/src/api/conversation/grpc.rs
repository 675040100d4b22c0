//! Conversations over gRPC.

use mecha_plugin_api::Metadata;
use mecha_plugin_api::conversation::{Choice, Role, Tool, ToolCall, Usage};
use mecha_proto::runtime::v1 as pb;
use mecha_runtime::{Call, Runtime};
use pb::conversation_message::MessageTypes;
use pb::conversation_tool_calls::ToolTypes as CallTypes;
use pb::conversation_tools::ToolTypes;

use super::json::schema;
use super::service::{self, Asked, Input, Said, first_text, function, given};
use crate::error::ApiError;

pub(crate) async fn alpha1(
    runtime: &Runtime,
    call: &Call,
    request: pb::ConversationRequest,
) -> Result<pb::ConversationResponse, ApiError> {
    let input = |input: pb::ConversationInput| {
        let role = service::role(&input.role.unwrap_or_default());
        let said = Said::Text { role, content: vec![input.content], calls: Vec::new() };
        Input { messages: vec![Some(said)], scrub: input.scrub_pii.unwrap_or_default() }
    };
    let asked = Asked {
        inputs: request.inputs.into_iter().map(input).collect(),
        scrub: request.scrub_pii.unwrap_or_default(),
        temperature: request.temperature.unwrap_or_default(),
        // As in Dapr the metadata is not the model's.
        ..Asked::default()
    };
    let answer = service::converse(runtime, call, &request.name, asked).await?;
    let result = |choices: &mecha_plugin_api::RVec<Choice>| pb::ConversationResult {
        result: first_text(choices),
        parameters: request.parameters.clone(),
    };
    Ok(pb::ConversationResponse {
        context_id: request.context_id.filter(|id| !id.is_empty()),
        outputs: answer.outputs.iter().map(result).collect(),
    })
}

pub(crate) async fn alpha2(
    runtime: &Runtime,
    call: &Call,
    request: pb::ConversationRequestAlpha2,
) -> Result<pb::ConversationResponseAlpha2, ApiError> {
    let input = |input: pb::ConversationInputAlpha2| Input {
        messages: input.messages.into_iter().map(said).collect(),
        scrub: input.scrub_pii.unwrap_or_default(),
    };
    let asked = Asked {
        inputs: request.inputs.into_iter().map(input).collect(),
        scrub: request.scrub_pii.unwrap_or_default(),
        temperature: request.temperature.unwrap_or_default(),
        tools: request.tools.into_iter().filter_map(tool).collect(),
        tool_choice: request.tool_choice.unwrap_or_default(),
        response_format: request.response_format.map(schema),
        prompt_cache_retention_ns: request.prompt_cache_retention.map(|duration| {
            let seconds = u64::try_from(duration.seconds).unwrap_or_default();
            seconds.saturating_mul(1_000_000_000) + u64::try_from(duration.nanos).unwrap_or_default()
        }),
        metadata: request.metadata.into_iter().collect::<Metadata>(),
    };
    let answer = service::converse(runtime, call, &request.name, asked).await?;
    let (model, usage) = (given(&answer.model), answer.usage.into_option().map(usage));
    let result = |choices: mecha_plugin_api::RVec<Choice>| pb::ConversationResultAlpha2 {
        choices: choices.into_iter().map(choice).collect(),
        model: model.clone(),
        usage,
    };
    Ok(pb::ConversationResponseAlpha2 {
        context_id: request.context_id.filter(|id| !id.is_empty()),
        outputs: answer.outputs.into_iter().map(result).collect(),
    })
}

fn said(message: pb::ConversationMessage) -> Option<Said> {
    let text = |role, content, calls| Said::Text { role, content: texts(content), calls };
    Some(match message.message_types? {
        MessageTypes::OfDeveloper(message) => text(Role::HUMAN, message.content, Vec::new()),
        MessageTypes::OfSystem(message) => text(Role::SYSTEM, message.content, Vec::new()),
        MessageTypes::OfUser(message) => text(Role::HUMAN, message.content, Vec::new()),
        MessageTypes::OfAssistant(message) => {
            text(Role::AI, message.content, message.tool_calls.into_iter().map(tool_call).collect())
        }
        MessageTypes::OfTool(message) => Said::Tool {
            id: message.tool_id.unwrap_or_default(),
            name: message.name,
            content: texts(message.content),
        },
    })
}

fn texts(content: Vec<pb::ConversationMessageContent>) -> Vec<String> {
    content.into_iter().map(|part| part.text).collect()
}

fn tool_call(call: pb::ConversationToolCalls) -> Option<ToolCall> {
    let CallTypes::Function(function) = call.tool_types?;
    let id = call.id.unwrap_or_default().into();
    Some(ToolCall { id, name: function.name.into(), arguments: function.arguments.into() })
}

fn tool(tool: pb::ConversationTools) -> Option<Tool> {
    let ToolTypes::Function(tool) = tool.tool_types?;
    Some(function(tool.name, tool.description.unwrap_or_default(), tool.parameters.map(schema)))
}

fn choice(choice: Choice) -> pb::ConversationResultChoices {
    let tool_call = |call: ToolCall| pb::ConversationToolCalls {
        id: given(&call.id),
        tool_types: Some(CallTypes::Function(pb::ConversationToolCallsOfFunction {
            name: call.name.into(),
            arguments: call.arguments.into(),
        })),
    };
    pb::ConversationResultChoices {
        finish_reason: choice.finish_reason.into(),
        index: choice.index,
        message: Some(pb::ConversationResultMessage {
            content: choice.content.into(),
            tool_calls: choice.tool_calls.into_iter().map(tool_call).collect(),
        }),
    }
}

fn usage(usage: Usage) -> pb::ConversationResultAlpha2CompletionUsage {
    use pb::ConversationResultAlpha2CompletionUsageCompletionTokensDetails as Completion;
    use pb::ConversationResultAlpha2CompletionUsagePromptTokensDetails as Prompt;
    let completion = usage.completion_details.into_option().map(|details| Completion {
        accepted_prediction_tokens: details.accepted_prediction_tokens,
        audio_tokens: details.audio_tokens,
        reasoning_tokens: details.reasoning_tokens,
        rejected_prediction_tokens: details.rejected_prediction_tokens,
    });
    let prompt = usage
        .prompt_details
        .into_option()
        .map(|details| Prompt { audio_tokens: details.audio_tokens, cached_tokens: details.cached_tokens });
    pb::ConversationResultAlpha2CompletionUsage {
        completion_tokens: usage.completion_tokens,
        prompt_tokens: usage.prompt_tokens,
        total_tokens: usage.total_tokens,
        completion_tokens_details: completion,
        prompt_tokens_details: prompt,
    }
}
