//! A source over a stream in both directions: messages come, settlements go. A stream that broke is opened again.

use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

use futures_util::FutureExt as _;
use mecha_plugin_api::source::{Delivery, Outcome, Settlement, Source};
use mecha_plugin_api::{CallContext, Error, Result};
use tokio::sync::{Mutex, mpsc};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::status::error;

/// Settlements on their way; the component reads them as fast as it likes.
const UNSENT: usize = 64;
/// What a message that is to come again is settled with: the protocol has a text for it and no delay.
const AGAIN: &str = "the application asked for the message again";

/// What differs between the streams of brokers and of bindings.
pub(crate) trait Conversation: Send + Sync + 'static {
    type Said: Send + 'static;
    type Heard: Send + 'static;

    fn open(
        &self,
        said: ReceiverStream<Self::Said>,
    ) -> impl Future<Output = Result<Streaming<Self::Heard>, Status>> + Send;

    /// What opens the conversation.
    fn first(&self) -> Option<Self::Said>;

    /// Settles a message: handled, or not and why.
    fn settlement(&self, id: String, refused: Option<&str>) -> Self::Said;

    /// The component's id of a message, and the message.
    fn delivery(&self, heard: Self::Heard) -> (String, Delivery);
}

/// The source.
pub(crate) struct Pull<C: Conversation> {
    conversation: C,
    /// One reads at a time; none where the stream broke.
    heard: Mutex<Option<Streaming<C::Heard>>>,
    out: Mutex<Out<C>>,
}

/// What is out at the host, and the way to settle it.
struct Out<C: Conversation> {
    said: mpsc::Sender<C::Said>,
    ids: HashMap<u64, String>,
    next: u64,
}

impl<C: Conversation> Pull<C> {
    pub(crate) async fn open(conversation: C) -> Result<Self> {
        let (said, heard) = open(&conversation).await?;
        let out = Mutex::new(Out { said, ids: HashMap::new(), next: 1 });
        Ok(Self { conversation, heard: Mutex::new(Some(heard)), out })
    }

    /// Opens the stream anew. Whatever was out, the component sends again.
    async fn reopen(&self) -> Result<Streaming<C::Heard>> {
        let (said, heard) = open(&self.conversation).await?;
        let mut out = self.out.lock().await;
        out.said = said;
        out.ids.clear();
        Ok(heard)
    }

    async fn number(&self, heard: Vec<C::Heard>) -> Vec<Delivery> {
        let mut out = self.out.lock().await;
        let number = |heard| {
            let (id, mut delivery) = self.conversation.delivery(heard);
            delivery.id = out.next;
            out.next += 1;
            out.ids.insert(delivery.id, id);
            delivery
        };
        heard.into_iter().map(number).collect()
    }
}

type Opened<C> = (mpsc::Sender<<C as Conversation>::Said>, Streaming<<C as Conversation>::Heard>);

async fn open<C: Conversation>(conversation: &C) -> Result<Opened<C>> {
    let (said, listened) = mpsc::channel(UNSENT);
    if let Some(first) = conversation.first() {
        // The receiver is right here.
        let _ = said.send(first).await;
    }
    let heard = conversation.open(ReceiverStream::new(listened)).await.map_err(error)?;
    Ok((said, heard))
}

impl<C: Conversation> Source for Pull<C> {
    async fn next(&self, _context: &CallContext, max: u32, wait: Duration) -> Result<Vec<Delivery>> {
        let mut place = self.heard.lock().await;
        let mut heard = match place.take() {
            Some(heard) => heard,
            None => self.reopen().await?,
        };
        let mut taken = Vec::new();
        let broken = match timeout(wait, heard.message()).await {
            Err(_) => None,
            Ok(Ok(Some(message))) => {
                taken.push(message);
                take_more(&mut heard, max, &mut taken)
            }
            Ok(Ok(None)) => Some(Error::unavailable("the component ended its stream")),
            Ok(Err(status)) => Some(error(status)),
        };
        match broken {
            // What came before the break is still good; the next call finds the stream broken.
            Some(error) if taken.is_empty() => return Err(error),
            Some(_) => {}
            None => *place = Some(heard),
        }
        Ok(self.number(taken).await)
    }

    async fn settle(&self, _context: &CallContext, settlements: Vec<Settlement>) -> Result<()> {
        for settlement in settlements {
            let mut out = self.out.lock().await;
            // Unknown after a break: the component sends it again.
            let Some(id) = out.ids.remove(&settlement.id) else { continue };
            let refused = (settlement.outcome == Outcome::RETRY).then_some(AGAIN);
            let said = self.conversation.settlement(id, refused);
            let sent = out.said.clone();
            drop(out);
            sent.send(said).await.map_err(|_| Error::unavailable("the component ended its stream"))?;
        }
        Ok(())
    }
}

/// Takes what has come already, up to `max` in all; gives the error of a stream that broke.
fn take_more<T>(heard: &mut Streaming<T>, max: u32, taken: &mut Vec<T>) -> Option<Error> {
    while taken.len() < max as usize {
        match heard.message().now_or_never()? {
            Ok(Some(message)) => taken.push(message),
            Ok(None) => return Some(Error::unavailable("the component ended its stream")),
            Err(status) => return Some(error(status)),
        }
    }
    None
}
