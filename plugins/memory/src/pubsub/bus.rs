//! The topics of one component: which groups read them, and what each still has to get.
//!
//! A group is what one message is delivered to once: all subscriptions of a topic with the same consumer, or one subscription
//! that names none. A group outlives its subscriptions, so that one which is opened again finds what it had not finished.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mecha_plugin_api::source::Settlement;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::queue::{Entry, Limits, Message, Queue, Sequence, SourceId};

/// How long what a subscription without a consumer left behind waits for it to be opened again.
const KEPT_FOR: Duration = Duration::from_secs(600);

/// How long after the end of the replaced instance its subscriptions may take to be opened again.
const REOPENED_WITHIN: Duration = Duration::from_secs(5);

pub(crate) type GroupId = u64;
pub(crate) type InstanceId = u64;

/// Where this copy's own sequence begins: what another copy of the plugin hands over goes before it.
const OWN_SEQUENCE: Sequence = 1 << 40;

/// A group as its sources see it.
#[derive(Clone)]
pub(crate) struct Membership {
    pub(crate) group: GroupId,
    pub(crate) source: SourceId,
    /// Told when there is something to look at.
    pub(crate) wake: Arc<Notify>,
}

struct Group {
    topic: String,
    consumer: Option<String>,
    queue: Queue,
    sources: Vec<(SourceId, InstanceId)>,
    /// When its last source was closed.
    left_at: Instant,
    wake: Arc<Notify>,
}

struct State {
    limits: Limits,
    last_id: u64,
    last_restored: Sequence,
    groups: HashMap<GroupId, Group>,
    exact: HashMap<String, Vec<GroupId>>,
    /// Groups whose topic ends in `*`.
    wildcards: Vec<GroupId>,
    instances: usize,
    /// Since a second instance was opened: subscriptions are on their way from one to the other.
    is_moving: bool,
    is_taking_over: bool,
    is_handing_over: bool,
    moving_until: Option<Instant>,
}

/// All topics of one component, shared by its instances while one replaces another.
pub(crate) struct Bus {
    state: Mutex<State>,
    room: Notify,
    closed: Notify,
}

/// What a group that nobody reads still held.
pub(crate) struct Left {
    pub(crate) id: GroupId,
    pub(crate) topic: String,
    pub(crate) consumer: Option<String>,
    pub(crate) entries: Vec<Entry>,
}

/// What a source is given.
pub(crate) struct Taken {
    pub(crate) topic: String,
    pub(crate) is_strict: bool,
    pub(crate) entries: Vec<(Sequence, Entry)>,
    pub(crate) next_due: Option<Instant>,
}

impl Bus {
    pub(crate) fn new(limits: Limits) -> Self {
        let state = State {
            limits,
            last_id: OWN_SEQUENCE,
            last_restored: 0,
            groups: HashMap::new(),
            exact: HashMap::new(),
            wildcards: Vec::new(),
            instances: 0,
            is_moving: false,
            is_taking_over: false,
            is_handing_over: false,
            moving_until: None,
        };
        Self { state: Mutex::new(state), room: Notify::new(), closed: Notify::new() }
    }

    /// An instance of the component was opened.
    pub(crate) fn enter(&self, limits: Limits) -> InstanceId {
        let mut state = self.lock();
        state.limits = limits;
        state.instances += 1;
        if state.instances > 1 {
            state.move_on();
        }
        state.new_id()
    }

    /// An instance of the component was closed.
    pub(crate) fn leave(&self) {
        let mut state = self.lock();
        state.instances -= 1;
        if state.instances == 1 {
            state.moved();
        }
        drop(state);
        self.closed.notify_waiters();
    }

    /// Whether every instance of the component is closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.lock().instances == 0
    }

    /// Whether, beyond that, nothing can come from a predecessor any more.
    pub(crate) fn is_finished(&self) -> bool {
        let state = self.lock();
        state.instances == 0 && !state.is_taking_over
    }

    /// Waits until it is closed.
    pub(crate) async fn closed(&self) {
        self.until(|state| state.instances == 0).await;
    }

    /// Waits until it is closed and no successor wants what it has.
    pub(crate) async fn abandoned(&self) {
        self.until(|state| state.instances == 0 && !state.is_handing_over).await;
    }

    async fn until(&self, condition: impl Fn(&State) -> bool) {
        loop {
            let mut closed = std::pin::pin!(self.closed.notified());
            closed.as_mut().enable();
            if condition(&self.lock()) {
                return;
            }
            closed.await;
        }
    }

    /// Another copy of the plugin hands over: nothing is dropped for want of the subscriptions that are on their way.
    pub(crate) fn take_over(&self) {
        let mut state = self.lock();
        state.is_taking_over = true;
        state.move_on();
    }

    /// Nothing more comes from it.
    pub(crate) fn taken_over(&self) {
        let mut state = self.lock();
        state.is_taking_over = false;
        state.moved();
    }

    /// Another copy of the plugin takes over: what still comes here is kept for it.
    pub(crate) fn hand_over(&self) {
        let mut state = self.lock();
        state.is_handing_over = true;
        state.move_on();
    }

    /// It has gone again.
    pub(crate) fn not_handed_over(&self) {
        let mut state = self.lock();
        state.is_handing_over = false;
        state.moved();
        drop(state);
        self.closed.notify_waiters();
    }

    /// Joins the group, or makes it.
    pub(crate) fn subscribe(
        &self,
        instance: InstanceId,
        topic: &str,
        consumer: Option<&str>,
        is_strict: bool,
    ) -> Membership {
        let mut state = self.lock();
        state.forget_old(Instant::now());
        let source = state.new_id();
        let id = state.find(instance, topic, consumer);
        let id = id.unwrap_or_else(|| state.add_group(topic, consumer));
        let mut wake = Arc::default();
        if let Some(group) = state.groups.get_mut(&id) {
            group.sources.push((source, instance));
            group.queue.set_strict(is_strict);
            wake = group.wake.clone();
        }
        Membership { group: id, source, wake }
    }

    /// Gives back what the source holds and leaves the group.
    pub(crate) fn unsubscribe(&self, membership: &Membership) {
        let mut state = self.lock();
        let is_moving = state.is_moving(Instant::now());
        let Some(group) = state.groups.get_mut(&membership.group) else { return };
        group.queue.give_back(membership.source);
        group.sources.retain(|(source, _)| *source != membership.source);
        group.left_at = Instant::now();
        group.wake.notify_waiters();
        if group.is_forgettable(is_moving) {
            state.remove_group(membership.group);
            drop(state);
            self.room.notify_waiters();
        }
    }

    /// Puts a message into every group of its topic, or, when one has no room, into none of them.
    pub(crate) async fn publish(&self, topic: &str, message: Arc<Message>) {
        loop {
            let mut room = std::pin::pin!(self.room.notified());
            room.as_mut().enable();
            if self.lock().publish(topic, &message) {
                return;
            }
            room.await;
        }
    }

    pub(crate) fn take(&self, membership: &Membership, max: usize) -> Option<Taken> {
        let mut state = self.lock();
        let group = state.groups.get_mut(&membership.group)?;
        let entries = group.queue.take(membership.source, max, Instant::now());
        if group.sources.len() > 1 && group.queue.has_ready() {
            group.wake.notify_one();
        }
        let next_due = group.queue.next_due();
        Some(Taken { topic: group.topic.clone(), is_strict: group.queue.is_strict(), entries, next_due })
    }

    /// Settles what the source holds; gives how many of them it held.
    pub(crate) fn settle(&self, membership: &Membership, settlements: &[Settlement]) -> usize {
        let mut state = self.lock();
        let Some(group) = state.groups.get_mut(&membership.group) else { return 0 };
        let (now, before) = (Instant::now(), group.queue.len());
        let held =
            settlements.iter().filter(|each| group.queue.settle(membership.source, **each, now)).count();
        let has_room = group.queue.len() < before;
        if group.queue.waiting() > 0 {
            // A time to wait for may be new, and in a strict queue the next message may be free now.
            group.wake.notify_waiters();
        }
        drop(state);
        if has_room {
            self.room.notify_waiters();
        }
        held
    }

    /// How many messages wait in the fullest group of a topic.
    pub(crate) fn backlog(&self, topic: &str) -> usize {
        let state = self.lock();
        let groups = state.groups.values().filter(|group| group.topic == topic);
        groups.map(|group| group.queue.waiting()).max().unwrap_or_default()
    }

    /// The groups there are: id, topic, consumer.
    pub(crate) fn groups(&self) -> Vec<(GroupId, String, Option<String>)> {
        let state = self.lock();
        let groups = state.groups.iter();
        groups.map(|(id, group)| (*id, group.topic.clone(), group.consumer.clone())).collect()
    }

    /// Makes a group whose subscription is to come over from another copy of the plugin.
    pub(crate) fn expect_group(&self, topic: &str, consumer: Option<&str>) -> GroupId {
        let mut state = self.lock();
        let known = consumer.and_then(|_| state.find(0, topic, consumer));
        known.unwrap_or_else(|| state.add_group(topic, consumer))
    }

    /// Takes away what waits in groups that nobody reads: those that were left since then, or all.
    pub(crate) fn drain_left(&self, since: Option<Instant>) -> Vec<Left> {
        let mut state = self.lock();
        let is_left =
            |group: &Group| group.sources.is_empty() && since.is_none_or(|since| group.left_at >= since);
        let left = state.groups.iter_mut().filter(|(_, group)| is_left(group) && group.queue.len() > 0);
        let drained = left.map(|(id, group)| Left {
            id: *id,
            topic: group.topic.clone(),
            consumer: group.consumer.clone(),
            entries: group.queue.drain(),
        });
        let drained = drained.collect();
        drop(state);
        self.room.notify_waiters();
        drained
    }

    /// Puts what another copy of the plugin held into a group, in front and beyond its limits: it was accepted there.
    pub(crate) fn restore(&self, id: GroupId, entry: Entry) {
        let mut state = self.lock();
        state.last_restored += 1;
        let sequence = state.last_restored;
        if let Some(group) = state.groups.get_mut(&id) {
            group.queue.push(sequence, entry);
            group.wake.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Group {
    fn new(topic: &str, consumer: Option<&str>) -> Self {
        Self {
            topic: topic.to_owned(),
            consumer: consumer.map(str::to_owned),
            queue: Queue::new(false),
            sources: Vec::new(),
            left_at: Instant::now(),
            wake: Arc::new(Notify::new()),
        }
    }

    /// Whether it gets messages: as in Dapr, one that nobody reads does not, unless it has a name or its reader is on the way.
    fn is_collecting(&self, is_moving: bool) -> bool {
        !self.sources.is_empty() || self.consumer.is_some() || is_moving
    }

    fn is_forgettable(&self, is_moving: bool) -> bool {
        !self.is_collecting(is_moving) && self.queue.len() == 0
    }
}

impl State {
    fn new_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    fn move_on(&mut self) {
        (self.is_moving, self.moving_until) = (true, None);
    }

    fn moved(&mut self) {
        if self.is_moving {
            self.moving_until = Some(Instant::now() + REOPENED_WITHIN);
        }
    }

    fn is_moving(&mut self, now: Instant) -> bool {
        if self.moving_until.is_some_and(|until| until <= now) {
            (self.is_moving, self.moving_until) = (false, None);
        }
        self.is_moving
    }

    /// The group to join: the consumer's, or one without a consumer that no subscription of this instance reads: its reader
    /// has gone, or belongs to the instance that is being replaced.
    fn find(&self, instance: InstanceId, topic: &str, consumer: Option<&str>) -> Option<GroupId> {
        let of_topic = self.exact.get(topic)?.iter().filter_map(|id| Some((*id, self.groups.get(id)?)));
        let is_free = |group: &Group| group.sources.iter().all(|(_, reader)| *reader != instance);
        let mut fitting = of_topic.filter(|(_, group)| {
            group.consumer.as_deref() == consumer && (consumer.is_some() || is_free(group))
        });
        fitting.next().map(|(id, _)| id)
    }

    fn add_group(&mut self, topic: &str, consumer: Option<&str>) -> GroupId {
        let id = self.new_id();
        self.groups.insert(id, Group::new(topic, consumer));
        if topic.ends_with('*') {
            self.wildcards.push(id);
        }
        self.exact.entry(topic.to_owned()).or_default().push(id);
        id
    }

    fn remove_group(&mut self, id: GroupId) -> Option<Group> {
        let group = self.groups.remove(&id)?;
        self.wildcards.retain(|other| *other != id);
        if let Some(ids) = self.exact.get_mut(&group.topic) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.exact.remove(&group.topic);
            }
        }
        Some(group)
    }

    fn forget_old(&mut self, now: Instant) {
        let old: Vec<GroupId> = self
            .groups
            .iter()
            .filter(|(_, group)| group.sources.is_empty() && group.consumer.is_none())
            .filter(|(_, group)| now.duration_since(group.left_at) >= KEPT_FOR)
            .map(|(id, _)| *id)
            .collect();
        for id in old {
            if let Some(group) = self.remove_group(id) {
                let messages = group.queue.len();
                tracing::warn!(
                    topic = group.topic,
                    messages,
                    "messages of a subscription that was not opened again are dropped"
                );
            }
        }
    }

    /// Gives no when a group has no room.
    fn publish(&mut self, topic: &str, message: &Arc<Message>) -> bool {
        let is_moving = self.is_moving(Instant::now());
        let mut targets = self.targets(topic, is_moving);
        if targets.is_empty() && is_moving {
            // The first subscription that comes over will find it.
            targets.push(self.add_group(topic, None));
        }
        let length = message.data.len();
        if !targets.iter().all(|id| self.groups[id].queue.has_room(length, self.limits)) {
            return false;
        }
        let sequence = self.new_id();
        for id in targets {
            if let Some(group) = self.groups.get_mut(&id) {
                group.queue.push(sequence, Entry { message: message.clone(), redelivered: 0 });
                group.wake.notify_one();
            }
        }
        true
    }

    /// The groups that read a topic. `orders*` reads every longer topic that begins with `orders`, and the topic `orders*`.
    fn targets(&self, topic: &str, is_moving: bool) -> Vec<GroupId> {
        let is_collecting = |id: &GroupId| self.groups[id].is_collecting(is_moving);
        let mut targets: Vec<GroupId> = Vec::new();
        if let Some(ids) = self.exact.get(topic) {
            targets.extend(ids.iter().copied().filter(is_collecting));
        }
        for id in &self.wildcards {
            let pattern = self.groups[id].topic.as_str();
            let prefix = &pattern[..pattern.len() - 1];
            let is_longer = topic.len() > prefix.len() && topic.starts_with(prefix);
            if is_longer && topic != pattern && is_collecting(id) {
                targets.push(*id);
            }
        }
        targets
    }
}
