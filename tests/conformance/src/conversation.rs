//! Conversations. What a model says is its own: looked at is that it answers, and in what form.

use mecha_plugin_api::conversation::{
    Choice, ConversationObject, ConverseRequest, ConverseResponse, Message, Part, Role, Tool, ToolCall,
    ToolResult,
};
use mecha_plugin_api::{Buf, Metadata, ROption};

use crate::subject::{Subject, context};
use crate::{Checked, Tell, because, is, run};

const TOOL: &str = "weather";

pub(crate) async fn all(subject: &Subject<'_>, tell: Tell<'_>) {
    run!(
        subject,
        tell,
        [
            the_back_end_answers,
            a_question_is_answered,
            a_conversation_goes_on,
            a_tool_at_hand_may_be_called,
            what_a_tool_gave_is_taken,
        ]
    );
}

async fn the_back_end_answers(subject: &Subject<'_>) -> Checked {
    let model: ConversationObject = subject.open().await?;
    model.ping(context()).await.into_result().map_err(because)
}

async fn converse(
    subject: &Subject<'_>,
    messages: Vec<Message>,
    tools: Vec<Tool>,
) -> Result<Vec<Choice>, String> {
    let model: ConversationObject = subject.open().await?;
    let request = ConverseRequest {
        messages: messages.into(),
        tools: tools.into(),
        tool_choice: "".into(),
        temperature: 0.0,
        response_format: ROption::RNone,
        prompt_cache_retention_ns: ROption::RNone,
        metadata: Metadata::new(),
    };
    let response = model.converse(context(), request).await.into_result().map_err(because)?;
    answers(response)
}

/// The choices of an answer in the form that it must have.
fn answers(response: ConverseResponse) -> Result<Vec<Choice>, String> {
    is("there is no output", response.outputs.is_empty(), false)?;
    if let ROption::RSome(usage) = response.usage {
        let sum = usage.completion_tokens + usage.prompt_tokens;
        is("all tokens", usage.total_tokens, sum)?;
    }
    let mut all = Vec::new();
    for output in response.outputs {
        is("an output has no choice", output.is_empty(), false)?;
        for (place, choice) in output.into_iter().enumerate() {
            is("index of a choice", choice.index, place as i64)?;
            is("it is not said why the answer ends", choice.finish_reason.is_empty(), false)?;
            is("a choice is empty", choice.content.is_empty() && choice.tool_calls.is_empty(), false)?;
            let calls = choice.finish_reason == "tool_calls";
            is("it ends for the calls of tools", calls, !choice.tool_calls.is_empty())?;
            all.push(choice);
        }
    }
    Ok(all)
}

fn says(role: Role, text: &str) -> Message {
    Message { role, parts: vec![Part::Text(text.into())].into() }
}

fn tool() -> Tool {
    let schema = r#"{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}"#;
    Tool {
        name: TOOL.into(),
        description: "Tells the weather of a city".into(),
        parameters: ROption::RSome(Buf::from(schema.to_owned())),
    }
}

async fn a_question_is_answered(subject: &Subject<'_>) -> Checked {
    let choices = converse(subject, vec![says(Role::HUMAN, "Say hello.")], vec![]).await?;
    let calls = choices.iter().any(|choice| !choice.tool_calls.is_empty());
    is("a tool is called that is not at hand", calls, false)
}

async fn a_conversation_goes_on(subject: &Subject<'_>) -> Checked {
    let messages = vec![
        says(Role::SYSTEM, "You answer in one word."),
        says(Role::HUMAN, "Which colour has the sky?"),
        says(Role::AI, "Blue."),
        says(Role::HUMAN, "And grass?"),
    ];
    converse(subject, messages, vec![]).await.map(drop)
}

/// It may also answer by itself.
async fn a_tool_at_hand_may_be_called(subject: &Subject<'_>) -> Checked {
    let asked = vec![says(Role::HUMAN, "What is the weather in Oslo?")];
    for call in converse(subject, asked, vec![tool()]).await?.iter().flat_map(|choice| &choice.tool_calls) {
        is("tool", &*call.name, TOOL)?;
    }
    Ok(())
}

async fn what_a_tool_gave_is_taken(subject: &Subject<'_>) -> Checked {
    let call = ToolCall { id: "call-1".into(), name: TOOL.into(), arguments: r#"{"city":"Oslo"}"#.into() };
    let result = ToolResult { id: "call-1".into(), name: TOOL.into(), content: "Rain.".into() };
    let messages = vec![
        says(Role::HUMAN, "What is the weather in Oslo?"),
        Message { role: Role::AI, parts: vec![Part::ToolCall(call)].into() },
        Message { role: Role::TOOL, parts: vec![Part::ToolResult(result)].into() },
    ];
    converse(subject, messages, vec![tool()]).await.map(drop)
}
