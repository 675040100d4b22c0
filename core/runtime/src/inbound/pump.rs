//! Keeps one feed running: open, pull, hand out, and move along with the component.

use std::sync::Arc;
use std::time::Duration;

use mecha_plugin_api::source::{Delivery, Outcome, Settlement, SourceObject};
use mecha_plugin_api::{CallContext, Error};
use mecha_plugin_host::CapabilityObject;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::lanes::{Entered, Held, Lanes};
use super::settling::Settling;
use super::{Feed, Flow, FlowWatch, Gathering, settlement};
use crate::App;
use crate::component::Component;
use crate::drain::Open;

/// How long one pull waits for a message; also how soon an idle pump notices that it should end.
const PULL: Duration = Duration::from_secs(5);
/// How long others wait for the first opening of a source.
const FIRST_TRY: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// A running feed; dropped, it runs on until its flow ends.
pub(crate) struct Pump {
    task: JoinHandle<()>,
    tried: Tried,
}

/// Whether a feed's source was opened, or cannot be now.
#[derive(Clone)]
pub(crate) struct Tried(watch::Receiver<bool>);

impl Tried {
    /// Waits for the first try, at most for a while: what is published after it reaches the feed.
    pub(crate) async fn wait(mut self) {
        // An error means that the feed has ended, and time that passes leaves the rest to the feed.
        let _ = tokio::time::timeout(FIRST_TRY, self.0.wait_for(|tried| *tried)).await;
    }
}

impl Pump {
    /// Starts a feed from a component.
    pub(crate) fn start<C: CapabilityObject, S: Send + Sync + 'static>(
        app: Arc<App>,
        component: Arc<Component<C, S>>,
        feed: Arc<dyn Feed<C>>,
        flow: FlowWatch,
    ) -> Self {
        Self::run(Running {
            app,
            component,
            feed,
            flow,
            first: None,
            follows: false,
            trying: watch::Sender::default(),
        })
    }

    /// Starts a feed that nobody starts anew when its component is replaced: it moves to the successor by itself.
    pub(crate) fn start_following<C: CapabilityObject, S: Send + Sync + 'static>(
        app: Arc<App>,
        component: Arc<Component<C, S>>,
        feed: Arc<dyn Feed<C>>,
        flow: FlowWatch,
    ) -> Self {
        Self::run(Running {
            app,
            component,
            feed,
            flow,
            first: None,
            follows: true,
            trying: watch::Sender::default(),
        })
    }

    /// The same for a feed whose source is open already, so that its caller learned whether it could be opened.
    pub(crate) fn start_on<C: CapabilityObject, S: Send + Sync + 'static>(
        app: Arc<App>,
        component: Arc<Component<C, S>>,
        feed: Arc<dyn Feed<C>>,
        flow: FlowWatch,
        first: (Arc<Open<C>>, SourceObject),
    ) -> Self {
        let first = Some(first);
        Self::run(Running {
            app,
            component,
            feed,
            flow,
            first,
            follows: true,
            trying: watch::Sender::default(),
        })
    }

    fn run<C: CapabilityObject, S: Send + Sync + 'static>(running: Running<C, S>) -> Self {
        let tried = Tried(running.trying.subscribe());
        Self { task: tokio::spawn(running.run()), tried }
    }

    /// Tells when its source was first opened, or could not be.
    pub(crate) fn tried(&self) -> Tried {
        self.tried.clone()
    }

    /// Whether it came to its end.
    pub(crate) fn has_ended(&self) -> bool {
        self.task.is_finished()
    }

    /// Waits for its end, which the flow must have asked for.
    pub(crate) async fn ended(self) {
        if let Err(error) = self.task.await {
            tracing::error!(%error, "a consumer ended abnormally");
        }
    }
}

struct Running<C: CapabilityObject, S> {
    app: Arc<App>,
    component: Arc<Component<C, S>>,
    feed: Arc<dyn Feed<C>>,
    flow: FlowWatch,
    first: Option<(Arc<Open<C>>, SourceObject)>,
    /// Whether it moves to the component's successor.
    follows: bool,
    trying: watch::Sender<bool>,
}

impl<C: CapabilityObject, S: Send + Sync + 'static> Running<C, S> {
    async fn run(mut self) {
        let mut moves = self.component.moves();
        let mut pause = FIRST_PAUSE;
        // The feed that was moved away from, finishing what it has out.
        let finishing = TaskTracker::new();
        loop {
            match self.flow.current() {
                Flow::Off => break,
                Flow::Paused => {
                    self.trying.send_replace(true);
                    self.flow.changed().await;
                    continue;
                }
                Flow::On => {}
            }
            moves.mark_unchanged();
            if let Some(successor) = self.component.successor().cloned() {
                if !self.follows {
                    // Another feed was started there; this one's end is on its way.
                    self.flow.changed().await;
                    continue;
                }
                moves = successor.moves();
                self.component = successor;
                // What was opened before it was replaced belongs to the old one.
                drop(self.first.take());
                continue;
            }
            let Some(open) = self.component.hold() else {
                self.trying.send_replace(true);
                tokio::select! {
                    moved = moves.changed() => if moved.is_err() { break },
                    () = self.flow.changed() => {}
                }
                continue;
            };
            let opened = self.open(open).await;
            self.trying.send_replace(true);
            match opened {
                Ok(tap) => {
                    let end = tap.pull(&mut self.flow, &mut moves).await;
                    if end == End::Asked && self.feed.is_told_once() && self.flow.current() == Flow::On {
                        tap.look_back().await;
                    }
                    finishing.spawn(tap.finish());
                    // A source that opens and then fails at once is as down as one that cannot be opened.
                    if end != (End::Failed { has_read: false }) {
                        pause = FIRST_PAUSE;
                    }
                    if end != End::Asked {
                        self.wait(&mut pause).await;
                    }
                }
                Err(error) => {
                    tracing::error!(source = %self.feed.name(), "cannot start reading: {error}");
                    self.wait(&mut pause).await;
                }
            }
        }
        finishing.close();
        finishing.wait().await;
    }

    async fn open(&mut self, open: Arc<Open<C>>) -> Result<Tap<C>, Error> {
        let context = CallContext::background(&*self.app.id);
        let (open, source) = match self.first.take() {
            Some(first) => first,
            None => {
                let source = self.feed.open(&open.object, context.clone()).await.into_result()?;
                (open, source)
            }
        };
        let source = Arc::new(source);
        let (settling, settled) =
            Settling::start(source.clone(), context.clone(), self.feed.name().to_owned());
        Ok(Tap {
            open,
            source,
            context,
            feed: self.feed.clone(),
            places: Arc::new(Semaphore::new(self.feed.max_in_flight())),
            lanes: Arc::new(Lanes::default()),
            tasks: TaskTracker::new(),
            settling,
            settled,
        })
    }

    /// A growing pause, cut short by the flow.
    async fn wait(&mut self, pause: &mut Duration) {
        let sleep = tokio::time::sleep(*pause);
        *pause = (*pause * 2).min(LONGEST_PAUSE);
        tokio::select! {
            () = sleep => {}
            () = self.flow.changed() => {}
        }
    }
}

/// Why pulling ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The component moved or the flow changed.
    Asked,
    /// The source failed for good, before or after it was read from with success.
    Failed { has_read: bool },
}

/// One open source and what is out from it.
struct Tap<C> {
    /// Keeps the generation from being retired under the source.
    open: Arc<Open<C>>,
    source: Arc<SourceObject>,
    context: CallContext,
    feed: Arc<dyn Feed<C>>,
    places: Arc<Semaphore>,
    lanes: Arc<Lanes>,
    tasks: TaskTracker,
    settling: Settling,
    settled: JoinHandle<()>,
}

impl<C: CapabilityObject> Tap<C> {
    /// Pulls and hands out until the component moves, the flow changes or the source fails.
    async fn pull(&self, flow: &mut FlowWatch, moves: &mut watch::Receiver<u64>) -> End {
        let (mut pause, mut has_read) = (FIRST_PAUSE, false);
        loop {
            self.lanes.open();
            let pulled = tokio::select! {
                biased;
                // An error means that the component is gone, which is the end as well.
                _ = moves.changed() => return End::Asked,
                () = flow.changed() => return End::Asked,
                () = self.lanes.should_pull_anew() => continue,
                pulled = self.next() => pulled,
            };
            match pulled {
                Ok(held) => {
                    (pause, has_read) = (FIRST_PAUSE, true);
                    self.hand_out(held).await;
                }
                Err(error) if error.is_retriable() => {
                    tracing::warn!(source = %self.feed.name(), "cannot read now: {error}");
                    let sleep = tokio::time::sleep(pause);
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    tokio::select! {
                        () = sleep => {}
                        _ = moves.changed() => return End::Asked,
                        () = flow.changed() => return End::Asked,
                    }
                }
                Err(error) => {
                    tracing::error!(source = %self.feed.name(), "reading failed: {error}");
                    return End::Failed { has_read };
                }
            }
        }
    }

    /// Takes what is there and was not pulled before the component moved.
    async fn look_back(&self) {
        let place = self.place().await;
        match self.take(vec![place], Duration::ZERO).await {
            Ok(held) => self.hand_out(held).await,
            Err(error) => tracing::debug!(source = %self.feed.name(), "nothing more can be read: {error}"),
        }
    }

    /// The next deliveries, no more than may be out. Cancelled between messages only: a source hands out what it gives.
    async fn next(&self) -> Result<Vec<Held>, Error> {
        let gathering = self.feed.gathering();
        let mut first = self.place().await;
        let Some(gathering) = gathering else {
            // As many as there is room for, so that a busy source needs few calls.
            let mut places = vec![first];
            while let Ok(place) = self.places.clone().try_acquire_owned() {
                places.push(place);
            }
            return self.take(places, PULL).await;
        };
        let (mut held, mut deadline) = (Vec::new(), None);
        loop {
            let wait = match deadline {
                None => PULL,
                Some(deadline) => Instant::saturating_duration_since(&deadline, Instant::now()),
            };
            held.extend(self.take_gathered(first, gathering, held.len(), wait).await?);
            if !held.is_empty() && deadline.is_none() {
                deadline = Some(Instant::now() + gathering.wait);
            }
            let is_late = deadline.is_some_and(|deadline| Instant::now() >= deadline);
            if held.is_empty() || is_late || held.len() >= gathering.max as usize {
                return Ok(held);
            }
            match self.places.clone().try_acquire_owned() {
                Ok(place) => first = place,
                Err(_) => return Ok(held),
            }
        }
    }

    async fn take_gathered(
        &self,
        first: OwnedSemaphorePermit,
        gathering: Gathering,
        have: usize,
        wait: Duration,
    ) -> Result<Vec<Held>, Error> {
        let mut places = vec![first];
        while have + places.len() < gathering.max as usize {
            let Ok(place) = self.places.clone().try_acquire_owned() else { break };
            places.push(place);
        }
        self.take(places, wait).await
    }

    async fn take(&self, mut places: Vec<OwnedSemaphorePermit>, wait: Duration) -> Result<Vec<Held>, Error> {
        let max = u32::try_from(places.len()).unwrap_or(u32::MAX);
        let wait = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
        let deliveries = self.source.next(self.context.clone(), max, wait).await.into_result()?;
        let mut held = Vec::with_capacity(deliveries.len());
        for delivery in deliveries {
            match places.pop() {
                Some(place) => held.push((delivery, place)),
                // More than was asked for: to be delivered again rather than beyond the limit.
                None => self.settling.settle([settlement(delivery.id, Outcome::RETRY)]),
            }
        }
        Ok(held)
    }

    async fn place(&self) -> OwnedSemaphorePermit {
        let place = self.places.clone().acquire_owned().await;
        place.expect("invariant: nothing closes the semaphore")
    }

    async fn hand_out(&self, held: Vec<Held>) {
        if held.is_empty() {
            return;
        }
        if self.feed.gathering().is_some() {
            // One bulk after the other, which keeps every order.
            let (deliveries, places): (Vec<Delivery>, Vec<_>) = held.into_iter().unzip();
            let settlements = self.feed.handle(deliveries).await;
            match any_again(&settlements) {
                // Before the next pull, which could bring what stands behind them.
                true => self.settling.settle_now(settlements).await,
                false => self.settling.settle(settlements),
            }
            drop(places);
            return;
        }
        // All of them enter before the first is worked on: one that fails at once must find those behind it in its lane.
        let (mut first, mut back) = (Vec::new(), Vec::new());
        for held in held {
            match self.lanes.enter(held) {
                Entered::Now(held) => first.push(held),
                Entered::Waits => {}
                Entered::Back((delivery, _)) => back.push(settlement(delivery.id, Outcome::RETRY)),
            }
        }
        for held in first {
            let (feed, lanes, settling) = (self.feed.clone(), self.lanes.clone(), self.settling.clone());
            self.tasks.spawn(work(feed, lanes, settling, held));
        }
        if !back.is_empty() {
            // Before the next pull, which could bring what stands behind them.
            self.settling.settle_now(back).await;
        }
    }

    /// Waits for what is out, tells the source and closes it.
    async fn finish(self) {
        self.tasks.close();
        self.tasks.wait().await;
        drop(self.settling);
        if let Err(error) = self.settled.await {
            tracing::error!(%error, "settling ended abnormally");
        }
        if let Err(error) = self.source.close(self.context).await.into_result() {
            tracing::warn!(source = %self.feed.name(), "closing the source failed: {error}");
        }
        drop(self.source);
        drop(self.open);
    }
}

fn any_again(settlements: &[Settlement]) -> bool {
    settlements.iter().any(|settled| settled.outcome == Outcome::RETRY)
}

/// Handles one delivery, and those that wait behind it.
async fn work<C: 'static>(feed: Arc<dyn Feed<C>>, lanes: Arc<Lanes>, settling: Settling, first: Held) {
    let mut next = Some(first);
    while let Some((delivery, place)) = next {
        let key = delivery.ordering_key.clone();
        let mut settlements = feed.handle(vec![delivery]).await;
        if any_again(&settlements) && !key.is_empty() {
            let behind = lanes.close(&key).into_iter();
            settlements.extend(behind.map(|(delivery, _)| settlement(delivery.id, Outcome::RETRY)));
            settling.settle_now(settlements).await;
            lanes.source_knows(&key);
            return;
        }
        settling.settle(settlements);
        drop(place);
        next = lanes.next(&key);
    }
}
