//! The place of a policy that may come, change and go while calls look at it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwapOption;
use mecha_resiliency::Policy;

/// A policy, or none, which is the common case: then a look is one load of a flag.
#[derive(Default)]
pub(crate) struct Slot {
    is_set: AtomicBool,
    policy: ArcSwapOption<Policy>,
}

impl Slot {
    /// What applies now.
    pub(crate) fn get(&self) -> Option<Arc<Policy>> {
        // Relaxed: a call that overlaps with a change may see either side of it.
        if self.is_set.load(Ordering::Relaxed) { self.policy.load_full() } else { None }
    }

    pub(super) fn set(&self, policy: Policy) {
        let policy = (!policy.is_empty()).then(|| Arc::new(policy));
        let is_set = policy.is_some();
        self.policy.store(policy);
        self.is_set.store(is_set, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_empty_policy_is_none() {
        let slot = Slot::default();
        assert!(slot.get().is_none());
        slot.set(Policy::none().with_timeout(Duration::from_secs(1)));
        assert_eq!(slot.get().unwrap().timeout(), Some(Duration::from_secs(1)));
        slot.set(Policy::none());
        assert!(slot.get().is_none());
    }
}
