//! The addresses that were seen, of the applications that somebody asked for.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::packet::{Data, Name, Packet};
use super::service;

/// An address that was not seen for so long is gone, as in Dapr.
const LIFE: Duration = Duration::from_secs(60);
/// Who asks after this asks the network again, even if somebody else still waits.
const ASKED: Duration = Duration::from_millis(500);

#[derive(Default)]
pub(super) struct Cache(Mutex<HashMap<String, Entry>>);

#[derive(Default)]
struct Entry {
    seen: Vec<(SocketAddr, Instant)>,
    turn: usize,
    asked: Option<Instant>,
}

impl Entry {
    /// Something is not there any more. When nothing is, whoever wants to know asks at once: the answer to what was asked came.
    fn gone(&mut self) {
        if self.seen.is_empty() {
            self.asked = None;
        }
    }
}

impl Cache {
    /// The next address of an application, its runtimes in turns. IPv4 goes before IPv6.
    pub(super) fn address(&self, app_id: &str) -> Option<String> {
        let mut cache = self.lock();
        let entry = cache.get_mut(app_id)?;
        entry.seen.retain(|(_, seen)| seen.elapsed() < LIFE);
        let has_v4 = entry.seen.iter().any(|(address, _)| address.is_ipv4());
        let usable: Vec<_> = entry.seen.iter().filter(|(address, _)| address.is_ipv4() == has_v4).collect();
        let (address, _) = usable.get(entry.turn % usable.len().max(1))?;
        entry.turn = entry.turn.wrapping_add(1);
        Some(address.to_string())
    }

    /// Begins to take an application in; says whether who begins is to ask the network.
    pub(super) fn begin(&self, app_id: &str) -> bool {
        let mut cache = self.lock();
        let entry = cache.entry(app_id.to_owned()).or_default();
        let asks = entry.asked.is_none_or(|asked| asked.elapsed() > ASKED);
        if asks {
            entry.asked = Some(Instant::now());
        }
        asks
    }

    /// Nobody answered: names that do not exist take no room.
    pub(super) fn give_up(&self, app_id: &str) {
        let mut cache = self.lock();
        if cache.get(app_id).is_some_and(|entry| entry.seen.is_empty()) {
            cache.remove(app_id);
        }
    }

    /// An address where nobody answers any more.
    pub(super) fn forget(&self, app_id: &str, address: &str) {
        if let Some(entry) = self.lock().get_mut(app_id) {
            entry.seen.retain(|(known, _)| known.to_string() != address);
            entry.gone();
        }
    }

    /// The applications that are kept up to date.
    pub(super) fn known(&self) -> Vec<String> {
        let mut cache = self.lock();
        cache.retain(|_, entry| {
            entry.seen.retain(|(_, seen)| seen.elapsed() < LIFE);
            !entry.seen.is_empty() || entry.asked.is_some_and(|asked| asked.elapsed() < LIFE)
        });
        cache.iter().filter(|(_, entry)| !entry.seen.is_empty()).map(|(app_id, _)| app_id.clone()).collect()
    }

    /// Takes an answer in; says whether it told anything of an application that somebody asked for.
    pub(super) fn learn(&self, packet: &Packet) -> bool {
        let mut cache = self.lock();
        let mut learnt = false;
        for (app_id, entry) in cache.iter_mut() {
            for (address, is_there) in addresses(packet, app_id) {
                entry.seen.retain(|(known, _)| *known != address);
                if is_there {
                    entry.seen.push((address, Instant::now()));
                    // The order of sightings is not the order of turns.
                    entry.seen.sort_by_key(|(address, _)| *address);
                }
                learnt = true;
                if !is_there {
                    entry.gone();
                }
            }
        }
        learnt
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The runtimes of one application in an answer, and whether they are there or say goodbye.
fn addresses(packet: &Packet, app_id: &str) -> Vec<(SocketAddr, bool)> {
    let name = service(app_id);
    let mut found = Vec::new();
    for record in packet.records() {
        let Data::Ptr(instance) = &record.data else { continue };
        if record.name == name
            && instance.is_below(&name)
            && names_app(packet, instance, app_id)
            && let Some(address) = address(packet, instance)
        {
            found.push((address, record.ttl > 0));
        }
    }
    found
}

/// An instance must name its application once more.
fn names_app(packet: &Packet, instance: &Name, app_id: &str) -> bool {
    packet.records().any(|record| match &record.data {
        Data::Txt(strings) => {
            record.name == *instance && strings.iter().any(|text| text == app_id.as_bytes())
        }
        Data::Ptr(_) | Data::Srv { .. } | Data::Address(_) => false,
    })
}

fn address(packet: &Packet, instance: &Name) -> Option<SocketAddr> {
    let (port, host) = packet.records().find_map(|record| match &record.data {
        Data::Srv { port, target } if record.name == *instance => Some((*port, target)),
        _ => None,
    })?;
    let ip: IpAddr = packet.records().find_map(|record| match &record.data {
        Data::Address(ip) if record.name == *host => Some(*ip),
        _ => None,
    })?;
    Some(SocketAddr::new(ip, port))
}
