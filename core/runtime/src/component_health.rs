//! Whether the back end of each component answers: asked now and then beside all calls, told where it changes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use futures_util::future::join_all;
use mecha_observability::Metrics;

use crate::App;
use crate::managed::Managed;
use crate::registry::Registry;

/// From one look to the next while all is well.
const CALM: Duration = Duration::from_secs(5);
/// From one look to the next while a component is not well.
const ALERT: Duration = Duration::from_secs(1);
/// How long a back end may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is known of a component's back end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComponentHealth {
    /// The component's name.
    pub name: String,
    /// Its type.
    pub type_name: String,
    /// What its back end said last, if it does not answer as it should.
    pub error: Option<String>,
    /// When it began to be so.
    pub since: SystemTime,
}

impl ComponentHealth {
    /// Whether its back end answers.
    pub fn is_healthy(&self) -> bool {
        self.error.is_none()
    }
}

/// The health of every open component that was asked already.
#[derive(Default)]
pub(crate) struct Healths(Mutex<BTreeMap<String, ComponentHealth>>);

/// One answer: the component's name and type, and what is wrong with it.
type Answer = (String, String, Option<String>);

impl Healths {
    /// Every component, by name.
    pub(crate) fn all(&self) -> Vec<ComponentHealth> {
        self.lock().values().cloned().collect()
    }

    /// Takes a look's answers in; gives whether all is well.
    fn update(&self, answers: Vec<Answer>, now: SystemTime, metrics: &Metrics) -> bool {
        // A component of several capabilities is well when all of them are.
        let mut asked: BTreeMap<String, (String, Option<String>)> = BTreeMap::new();
        for (name, type_name, error) in answers {
            let known = asked.entry(name).or_insert((type_name, None));
            known.1 = known.1.take().or(error);
        }
        let mut healths = self.lock();
        healths.retain(|name, health| {
            let stays = asked.get(name).is_some_and(|(type_name, _)| *type_name == health.type_name);
            if !stays {
                metrics.health.remove(&health.type_name, name);
            }
            stays
        });
        let is_well = asked.values().all(|(_, error)| error.is_none());
        for (name, (type_name, error)) in asked {
            let known = healths.get(&name);
            if known.is_some_and(|known| known.is_healthy() == error.is_none()) {
                if let Some(known) = healths.get_mut(&name) {
                    known.error = error;
                }
                continue;
            }
            told(&name, known, error.as_deref(), now);
            metrics.health.set(&type_name, &name, error.is_none(), now);
            healths.insert(name.clone(), ComponentHealth { name, type_name, error, since: now });
        }
        is_well
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, ComponentHealth>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn told(name: &str, before: Option<&ComponentHealth>, error: Option<&str>, now: SystemTime) {
    match (before, error) {
        // It opened, and that was told.
        (None, None) => {}
        (_, Some(error)) => tracing::warn!(component = %name, "component {name} is unhealthy: {error}"),
        (Some(before), None) => {
            let after = now.duration_since(before.since).unwrap_or_default();
            tracing::info!(component = %name, "component {name} is healthy again after {:.1} s", after.as_secs_f64());
        }
    }
}

/// Looks at every open component until the task is aborted.
pub(crate) async fn watch(
    app: Arc<App>,
    registry: Arc<ArcSwap<Registry>>,
    healths: Arc<Healths>,
    metrics: Arc<Metrics>,
) {
    loop {
        let open = registry.load().open.clone();
        let answers = join_all(open.iter().map(|component| ask(&**component, &app))).await;
        let is_well = healths.update(answers.into_iter().flatten().collect(), SystemTime::now(), &metrics);
        tokio::time::sleep(if is_well { CALM } else { ALERT }).await;
    }
}

/// `None` when the component was closed meanwhile.
async fn ask(component: &dyn Managed, app: &App) -> Option<Answer> {
    let error = match tokio::time::timeout(PATIENCE, component.ping(app)).await {
        Ok(answered) => answered?.err().map(|error| error.to_string()),
        Err(_) => Some(format!("no answer within {} s", PATIENCE.as_secs())),
    };
    let resource = &component.definition().resource;
    Some((resource.name.clone(), resource.component_type.clone(), error))
}

#[cfg(test)]
mod tests {
    use mecha_observability::metrics::MetricsSettings;

    use super::*;

    fn answer(name: &str, error: Option<&str>) -> Answer {
        (name.to_owned(), "state.x".to_owned(), error.map(str::to_owned))
    }

    #[test]
    fn a_change_is_kept_with_its_time() {
        let (healths, metrics) = (Healths::default(), Metrics::new(&MetricsSettings::default()).unwrap());
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        assert!(healths.update(vec![answer("a", None), answer("b", None)], at(1), &metrics));
        assert!(!healths.update(vec![answer("a", Some("down")), answer("b", None)], at(2), &metrics));
        assert!(!healths.update(vec![answer("a", Some("still")), answer("b", None)], at(3), &metrics));
        let all = healths.all();
        assert_eq!((all[0].error.as_deref(), all[0].since), (Some("still"), at(2)));
        assert_eq!((all[1].is_healthy(), all[1].since), (true, at(1)));
        let text = metrics.render();
        let line =
            text.lines().find(|line| line.starts_with("mecha_component_healthy{") && line.contains("\"a\""));
        assert!(line.is_some_and(|line| line.ends_with("} 0")), "{text}");

        assert!(healths.update(vec![answer("a", None)], at(9), &metrics));
        let all = healths.all();
        assert_eq!(all.len(), 1, "a component that is gone has no health");
        assert_eq!((all[0].is_healthy(), all[0].since), (true, at(9)));
        assert!(!metrics.render().contains("\"b\""));
    }

    #[test]
    fn a_component_of_two_capabilities_is_well_when_both_are() {
        let (healths, metrics) = (Healths::default(), Metrics::new(&MetricsSettings::default()).unwrap());
        assert!(!healths.update(
            vec![answer("a", Some("down")), answer("a", None)],
            SystemTime::now(),
            &metrics
        ));
        assert!(!healths.all()[0].is_healthy());
    }
}
