//! Name resolution over multicast DNS, in Dapr's form: the type of a service is the application's id itself.
//!
//! `sockets.rs` opens one socket for each interface, `packet.rs` reads and writes messages, `cache.rs` keeps what was seen. A
//! task for each socket answers questions and learns from answers; [`Mdns::resolve`] asks and waits for the first.

mod cache;
pub(crate) mod packet;
mod sockets;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

use crate::host::Host;
use crate::resolve::{AppName, Resolve, ResolveError};
use cache::Cache;
use packet::{Data, Name, Packet, Record};
use sockets::Multicast;

/// How long the first answer may take, as in Dapr.
const PATIENCE: Duration = Duration::from_secs(1);
/// A question that got lost is asked again after these.
const ASK_AGAIN: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(300)];
/// What is known is asked for again so often.
const REFRESH: Duration = Duration::from_secs(30);
/// From the first announcement to the second.
const ANNOUNCE_AGAIN: Duration = Duration::from_secs(1);
/// As Dapr's own.
const TTL: u32 = 3200;
const ADDRESS_TTL: u32 = 120;
const ANSWER: u16 = 0x8400;
const ANNOUNCEMENT: u16 = 0x8000;
/// Longest message.
const MESSAGE: usize = 9000;
const LONGEST_LABEL: usize = 63;

/// Finds runtimes on the local network.
pub struct Mdns {
    shared: Arc<Shared>,
    /// Ends with this.
    _tasks: JoinSet<()>,
}

struct Shared {
    sockets: Vec<Multicast>,
    app_id: String,
    host: Host,
    /// Where this runtime takes calls; `None` before it does.
    announced: Mutex<Option<SocketAddr>>,
    cache: Cache,
    /// Told when something was learnt.
    learnt: Notify,
}

impl Mdns {
    /// Opens the sockets and begins to listen. Must be called within a runtime of tokio.
    pub fn start(app_id: &str, host: Host) -> Self {
        let sockets = sockets::open();
        if sockets.is_empty() {
            tracing::warn!("mDNS found no network interface that it can use; no other application is found");
        }
        let count = sockets.len();
        let shared = Arc::new(Shared {
            sockets,
            app_id: app_id.to_owned(),
            host,
            announced: Mutex::default(),
            cache: Cache::default(),
            learnt: Notify::new(),
        });
        let mut tasks = JoinSet::new();
        for index in 0..count {
            tasks.spawn(shared.clone().listen(index));
        }
        tasks.spawn(shared.clone().refresh());
        Self { shared, _tasks: tasks }
    }
}

impl Resolve for Mdns {
    fn resolve<'a>(&'a self, app: &'a AppName) -> BoxFuture<'a, Result<String, ResolveError>> {
        Box::pin(async move {
            match self.shared.cache.address(&app.id) {
                Some(address) => Ok(address),
                None => self.shared.find(&app.id).await,
            }
        })
    }

    fn forget(&self, app: &AppName, address: &str) {
        self.shared.cache.forget(&app.id, address);
    }

    fn announce(&self, listening: SocketAddr, _http_port: u16) {
        let ip = if listening.ip().is_unspecified() { self.shared.host.address } else { listening.ip() };
        let address = SocketAddr::new(ip, listening.port());
        *self.shared.announced.lock().unwrap_or_else(PoisonError::into_inner) = Some(address);
        if !self.shared.service().is_sendable() {
            tracing::warn!(
                "app id {} is longer than {LONGEST_LABEL} bytes: others cannot find it over mDNS",
                self.shared.app_id
            );
            return;
        }
        let shared = self.shared.clone();
        tokio::spawn(async move {
            for pause in [Duration::ZERO, ANNOUNCE_AGAIN] {
                sleep(pause).await;
                // It may have been taken back meanwhile.
                if let Some(packet) = shared.announcement(TTL, ADDRESS_TTL) {
                    shared.send_everywhere(&packet).await;
                }
            }
        });
    }

    fn withdraw<'a>(&'a self) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let goodbye = self.shared.announcement(0, 0);
            *self.shared.announced.lock().unwrap_or_else(PoisonError::into_inner) = None;
            if let Some(goodbye) = goodbye {
                self.shared.send_everywhere(&goodbye).await;
            }
        })
    }
}

fn service(app_id: &str) -> Name {
    Name::new(&[app_id, "local"])
}

impl Shared {
    fn service(&self) -> Name {
        service(&self.app_id)
    }

    async fn find(&self, app_id: &str) -> Result<String, ResolveError> {
        let not_found = || ResolveError::NotFound(app_id.to_owned());
        if !service(app_id).is_sendable() {
            return Err(not_found());
        }
        let deadline = Instant::now() + PATIENCE;
        let mut asking_again = ASK_AGAIN.iter();
        // Of many who wait for one application, one asks.
        let asks = self.cache.begin(app_id);
        if asks {
            self.ask(app_id).await;
        }
        loop {
            let learnt = self.learnt.notified();
            tokio::pin!(learnt);
            // Waits from here on: what is learnt between the look and the wait is not missed.
            learnt.as_mut().enable();
            if let Some(address) = self.cache.address(app_id) {
                return Ok(address);
            }
            let next = asking_again.next().filter(|_| asks);
            let until = next.map_or(deadline, |pause| (Instant::now() + *pause).min(deadline));
            if timeout_at(until, learnt).await.is_err() {
                if until >= deadline {
                    self.cache.give_up(app_id);
                    return self.cache.address(app_id).ok_or_else(not_found);
                }
                self.ask(app_id).await;
            }
        }
    }

    async fn ask(&self, app_id: &str) {
        let question = Packet { id: rand::random(), questions: vec![service(app_id)], ..Packet::default() };
        self.send_everywhere(&question).await;
    }

    async fn send_everywhere(&self, packet: &Packet) {
        let bytes = packet.encode();
        for socket in &self.sockets {
            if let Err(error) = socket.send(&bytes).await {
                // As a rule a family without a route; another socket reaches the peer.
                tracing::debug!(%error, "mDNS packet not sent");
            }
        }
    }

    async fn refresh(self: Arc<Self>) {
        loop {
            sleep(REFRESH).await;
            for app_id in self.cache.known() {
                self.ask(&app_id).await;
            }
        }
    }

    async fn listen(self: Arc<Self>, index: usize) {
        let Some(socket) = self.sockets.get(index) else { return };
        let mut buffer = vec![0; MESSAGE];
        loop {
            match socket.receive(&mut buffer).await {
                Ok(length) => {
                    let Some(packet) = Packet::decode(&buffer[..length]) else { continue };
                    if let Some(answer) = self.take(&packet) {
                        // A question that is not answered is asked again.
                        let _ = socket.send(&answer.encode()).await;
                    }
                }
                Err(error) => {
                    // The interface is gone, or comes back.
                    tracing::debug!(%error, "mDNS socket failed");
                    sleep(PATIENCE).await;
                }
            }
        }
    }

    /// Learns from an answer; gives the answer to a question.
    fn take(&self, packet: &Packet) -> Option<Packet> {
        if !packet.is_query() {
            if self.cache.learn(packet) {
                self.learnt.notify_waiters();
            }
            return None;
        }
        // A question with records of its own is somebody's look whether a name is free.
        if !packet.authorities.is_empty() {
            return None;
        }
        let (service, instance) = (self.service(), self.instance());
        let is_for_us = packet.questions.iter().any(|name| *name == service || *name == instance);
        if !is_for_us {
            return None;
        }
        let [srv, txt, address] = self.records(TTL, ADDRESS_TTL)?;
        let ptr = Record { name: service, flush: false, ttl: TTL, data: Data::Ptr(instance) };
        let additionals = [srv, txt, address].map(|record| Record { flush: false, ..record });
        Some(Packet {
            id: packet.id,
            flags: ANSWER,
            answers: vec![ptr],
            additionals: additionals.into(),
            ..Packet::default()
        })
    }

    /// What is sent unasked; with lives of zero it takes everything back. `None` while nothing is announced.
    fn announcement(&self, ttl: u32, address_ttl: u32) -> Option<Packet> {
        let [srv, txt, address] = self.records(ttl, address_ttl)?;
        let ptr = |name, target| Record { name, flush: false, ttl, data: Data::Ptr(target) };
        let kinds = Name::new(&["_services", "_dns-sd", "_udp", "local"]);
        let answers =
            vec![srv, txt, ptr(self.service(), self.instance()), ptr(kinds, self.service()), address];
        Some(Packet { flags: ANNOUNCEMENT, answers, ..Packet::default() })
    }

    fn records(&self, ttl: u32, address_ttl: u32) -> Option<[Record; 3]> {
        let announced = (*self.announced.lock().unwrap_or_else(PoisonError::into_inner))?;
        let instance = self.instance();
        let host = self.host_name();
        let srv = Data::Srv { port: announced.port(), target: host.clone() };
        let record = |name, ttl, data| Record { name, flush: true, ttl, data };
        let address: IpAddr = announced.ip();
        Some([
            record(instance.clone(), ttl, srv),
            record(instance, ttl, Data::Txt(vec![self.app_id.as_bytes().to_vec()])),
            record(host, address_ttl, Data::Address(address)),
        ])
    }

    /// This process's name among those of the service.
    fn instance(&self) -> Name {
        let label = format!("{}:{}", self.host.name, std::process::id());
        Name::new(&[fitting(&label), &self.app_id, "local"])
    }

    fn host_name(&self) -> Name {
        let name = self.host.name.trim_end_matches('.').trim_end_matches(".local");
        let mut labels: Vec<&str> = name.split('.').filter(|label| !label.is_empty()).map(fitting).collect();
        labels.push("local");
        Name::new(&labels)
    }
}

/// The end of a text, which tells processes apart, as far as a label holds.
fn fitting(text: &str) -> &str {
    let mut start = text.len().saturating_sub(LONGEST_LABEL);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    &text[start..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared() -> Shared {
        Shared {
            sockets: Vec::new(),
            app_id: "b-app".to_owned(),
            host: Host { address: [10, 0, 0, 9].into(), name: "vm".to_owned() },
            announced: Mutex::new(Some(([127, 0, 0, 1], 3603).into())),
            cache: Cache::default(),
            learnt: Notify::new(),
        }
    }

    #[test]
    fn an_answer_has_everything_that_dapr_wants_in_one_packet() {
        let shared = shared();
        let question = Packet { id: 7, questions: vec![service("b-app")], ..Packet::default() };
        let answer = shared.take(&question).unwrap();
        assert_eq!((answer.id, answer.flags, answer.answers.len()), (7, 0x8400, 1));
        assert_eq!(answer.additionals.len(), 3);
        assert!(answer.additionals.contains(&Record {
            name: shared.instance(),
            flush: false,
            ttl: 3200,
            data: Data::Txt(vec![b"b-app".to_vec()]),
        }));

        let learner = super::tests::shared();
        learner.cache.begin("b-app");
        assert_eq!(learner.take(&answer), None);
        assert_eq!(learner.cache.address("b-app").unwrap(), "127.0.0.1:3603");
    }

    #[test]
    fn other_names_and_probes_are_not_answered() {
        let shared = shared();
        let ask = |name: &str| Packet { questions: vec![service(name)], ..Packet::default() };
        assert_eq!(shared.take(&ask("B-APP")), None);
        let probe = Packet { authorities: shared.records(1, 1).unwrap().into(), ..ask("b-app") };
        assert_eq!(shared.take(&probe), None);
        *shared.announced.lock().unwrap() = None;
        assert_eq!(shared.take(&ask("b-app")), None);
    }

    #[test]
    fn a_goodbye_is_learnt_at_once() {
        let shared = shared();
        shared.cache.begin("b-app");
        shared.take(&shared.announcement(TTL, ADDRESS_TTL).unwrap());
        assert!(shared.cache.address("b-app").is_some());
        shared.take(&shared.announcement(0, 0).unwrap());
        assert!(shared.cache.address("b-app").is_none());
        assert!(shared.cache.begin("b-app"), "who wants to know now asks");
    }

    #[test]
    fn an_address_that_is_forgotten_is_asked_for_again_at_once() {
        let shared = shared();
        assert!(shared.cache.begin("b-app"));
        shared.take(&shared.announcement(TTL, ADDRESS_TTL).unwrap());
        assert!(!shared.cache.begin("b-app"), "somebody asked just now");
        shared.cache.forget("b-app", "127.0.0.1:3603");
        assert!(shared.cache.address("b-app").is_none());
        assert!(shared.cache.begin("b-app"));
    }
}
