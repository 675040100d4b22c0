//! What a program without a server of its own does with the SDK.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use dapr::client::{
    Client, ClientOptions, ConversationInputAlpha2, ConversationRequestAlpha2, DecryptRequestOptions,
    EncryptRequestOptions, Etag, ReaderStream, StateOptions, TonicClientWithAuth,
};
use dapr::dapr::proto::common::v1::state_options::{StateConcurrency, StateConsistency};
use dapr::dapr::proto::runtime::v1::conversation_message::MessageTypes;
use dapr::dapr::proto::runtime::v1::{
    ConversationMessage, ConversationMessageContent, ConversationMessageOfUser,
};

use crate::steps::{equal, eventually, fails, need, step, with};

type Dapr = Client<TonicClientWithAuth>;

pub async fn play() -> Result<()> {
    let mut dapr = Client::new().await?;
    step("metadata", metadata(&mut dapr)).await?;
    step("a wrong API token", wrong_token()).await?;
    let components = dapr.get_metadata().await?.registered_components;
    for store in ["statestore", "memorystore"] {
        if components.iter().any(|component| component.name == store) {
            step(&format!("{store}: save, get, delete"), state(&mut dapr, store)).await?;
            step(&format!("{store}: etags"), etags(&mut dapr, store)).await?;
            step(&format!("{store}: bulk"), bulk(&mut dapr, store)).await?;
            step(&format!("{store}: time to live"), time_to_live(&mut dapr, store)).await?;
        }
    }
    step("an unknown state store", async { fails(dapr.get_state("nowhere", "k", None).await, "nowhere") })
        .await?;
    step("publish", publish(&mut dapr)).await?;
    step("output binding", binding(&mut dapr)).await?;
    step("secrets", secrets(&mut dapr)).await?;
    step("configuration and its changes", configuration(&mut dapr)).await?;
    step("encrypt and decrypt", cryptography(&mut dapr)).await?;
    step("conversation", conversation(&mut dapr)).await
}

async fn metadata(dapr: &mut Dapr) -> Result<()> {
    dapr.set_metadata("colour", "green").await?;
    let found = dapr.get_metadata().await?;
    equal(found.id, need("APP_ID")?)?;
    equal(found.extended_metadata.get("colour").map(String::as_str), Some("green"))?;
    let store = found.registered_components.iter().find(|component| component.name == "statestore");
    ensure!(store.context("a store")?.capabilities.contains(&"ETAG".to_owned()));
    Ok(())
}

async fn wrong_token() -> Result<()> {
    let mut stranger = Client::from_options(ClientOptions::from_env()?.with_api_token("wrong")).await?;
    fails(stranger.get_metadata().await, "Unauthenticated")
}

async fn value(dapr: &mut Dapr, store: &str, key: &str) -> Result<Vec<u8>> {
    Ok(dapr.get_state(store, key, None).await?.data)
}

async fn state(dapr: &mut Dapr, store: &str) -> Result<()> {
    equal(value(dapr, store, "k").await?, b"")?;
    dapr.save_state(store, "k", b"v\0\xff".to_vec(), None, None, None).await?;
    equal(value(dapr, store, "k").await?, b"v\0\xff")?;
    dapr.delete_state(store, "k", None).await?;
    equal(value(dapr, store, "k").await?, b"")
}

async fn etags(dapr: &mut Dapr, store: &str) -> Result<()> {
    let options = StateOptions {
        concurrency: StateConcurrency::ConcurrencyFirstWrite.into(),
        consistency: StateConsistency::ConsistencyStrong.into(),
    };
    dapr.save_state(store, "k", b"v1".to_vec(), None, None, None).await?;
    let old = Some(Etag { value: dapr.get_state(store, "k", None).await?.etag });
    dapr.save_state(store, "k", b"v2".to_vec(), old.clone(), None, Some(options)).await?;
    fails(dapr.save_state(store, "k", b"v3".to_vec(), old, None, Some(options)).await, "Aborted")?;
    equal(value(dapr, store, "k").await?, b"v2")
}

async fn bulk(dapr: &mut Dapr, store: &str) -> Result<()> {
    let items = [("a", b"1".to_vec()), ("b", b"2".to_vec())].map(Into::into);
    dapr.save_bulk_states(store, items).await?;
    equal(value(dapr, store, "a").await?, b"1")?;
    dapr.delete_bulk_state(store, [("a", vec![]), ("b", vec![])]).await?;
    equal(value(dapr, store, "b").await?, b"")
}

async fn time_to_live(dapr: &mut Dapr, store: &str) -> Result<()> {
    dapr.save_state(store, "short", b"lived".to_vec(), None, with("ttlInSeconds", "3"), None).await?;
    equal(value(dapr, store, "short").await?, b"lived")?;
    let expired = async || Ok(value(dapr, store, "short").await?.is_empty().then_some(()));
    eventually("it expires", expired).await
}

async fn publish(dapr: &mut Dapr) -> Result<()> {
    let topic = format!("none-{}", need("RUN")?);
    dapr.publish_event("pubsub", &topic, "text/plain", b"x".to_vec(), None).await?;
    fails(dapr.publish_event("nowhere", &topic, "text/plain", b"x".to_vec(), None).await, "nowhere")
}

async fn binding(dapr: &mut Dapr) -> Result<()> {
    // A folder calls it a file name and a bucket a key.
    let name =
        || Some(HashMap::from(["fileName", "key"].map(|field| (field.to_owned(), "a/rust.txt".to_owned()))));
    dapr.invoke_binding("files", b"some text!".to_vec(), "create", name()).await?;
    equal(dapr.invoke_binding("files", vec![], "get", name()).await?.data, b"some text!")?;
    dapr.invoke_binding("files", vec![], "delete", name()).await?;
    fails(dapr.invoke_binding("files", vec![], "get", name()).await, "not found")
}

async fn secrets(dapr: &mut Dapr) -> Result<()> {
    equal(Some(dapr.get_secret("secrets", "password").await?.data), with("password", "open sesame"))?;
    let everything = dapr.get_bulk_secret("secrets", None).await?.data;
    equal(everything.get("db:user").map(|secret| secret.secrets.clone()), with("db:user", "scott"))?;
    fails(dapr.get_secret("secrets", "none").await, "none")
}

async fn configuration(dapr: &mut Dapr) -> Result<()> {
    let writer = need("CONFIGURATION_WRITER")?;
    let key =
        if writer.is_empty() { "greeting".to_owned() } else { format!("greeting-rust-{}", need("RUN")?) };
    if !writer.is_empty() {
        dapr.invoke_binding(writer.as_str(), b"hello||1".to_vec(), "create", with("key", &key)).await?;
    }
    let item = dapr.get_configuration("configstore", vec![&key], None).await?.items.remove(&key);
    equal(item.map(|item| (item.value, item.version)), Some(("hello".to_owned(), "1".to_owned())))?;

    let mut changes = dapr.subscribe_configuration("configstore", vec![key.as_str()], None).await?;
    let first = changes.message().await?.context("the watch's id")?;
    if !writer.is_empty() {
        dapr.invoke_binding(writer.as_str(), b"good bye||2".to_vec(), "create", with("key", &key)).await?;
        let change = changes.message().await?.context("a change")?;
        equal(change.items.get(&key).map(|item| item.value.as_str()), Some("good bye"))?;
    }
    equal(dapr.unsubscribe_configuration("configstore", first.id.as_str()).await?.ok, true)
}

/// The SDK counts parts of a longer text wrongly, so that there is one part.
async fn cryptography(dapr: &mut Dapr) -> Result<()> {
    let plain = [7; 3000];
    let options = EncryptRequestOptions {
        component_name: "keys".to_owned(),
        key_name: "mykey".to_owned(),
        key_wrap_algorithm: "AES".to_owned(),
        ..EncryptRequestOptions::default()
    };
    let document = dapr.encrypt(ReaderStream::new(&plain[..]), options).await?;
    let options = DecryptRequestOptions { component_name: "keys".to_owned(), key_name: String::new() };
    equal(dapr.decrypt(document, options).await?, plain)
}

async fn conversation(dapr: &mut Dapr) -> Result<()> {
    let content = vec![ConversationMessageContent { text: "repeat me".to_owned() }];
    let message = MessageTypes::OfUser(ConversationMessageOfUser { name: None, content });
    let messages = vec![ConversationMessage { message_types: Some(message) }];
    let inputs = vec![ConversationInputAlpha2 { messages, scrub_pii: None }];
    let request = ConversationRequestAlpha2 { name: "echo".to_owned(), inputs, ..Default::default() };
    let answer = dapr.converse_alpha2(request).await?;
    let choice = answer.outputs.first().and_then(|output| output.choices.first());
    let text = choice.and_then(|choice| choice.message.as_ref()).map(|message| message.content.as_str());
    equal(text, Some("repeat me"))
}
