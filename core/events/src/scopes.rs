//! Which topics of a pub/sub component an application may use: the component's `publishingScopes`, `subscriptionScopes`,
//! `allowedTopics` and `protectedTopics`.

use std::collections::HashSet;

/// The topics of one component that one application may use.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TopicScopes {
    allowed: HashSet<String>,
    protected: HashSet<String>,
    publishing: HashSet<String>,
    subscription: HashSet<String>,
}

impl TopicScopes {
    /// Reads a component's resolved metadata. Names are taken in any case.
    #[must_use]
    pub fn for_app<'m>(app_id: &str, metadata: impl IntoIterator<Item = (&'m str, &'m str)>) -> Self {
        let mut scopes = Self::default();
        for (name, value) in metadata {
            if name.eq_ignore_ascii_case("allowedTopics") {
                scopes.allowed = topics(value);
            } else if name.eq_ignore_ascii_case("protectedTopics") {
                scopes.protected = topics(value);
            } else if name.eq_ignore_ascii_case("publishingScopes") {
                scopes.publishing = scoped_topics(app_id, value);
            } else if name.eq_ignore_ascii_case("subscriptionScopes") {
                scopes.subscription = scoped_topics(app_id, value);
            }
        }
        scopes
    }

    /// Whether the application may publish to a topic.
    #[must_use]
    pub fn may_publish(&self, topic: &str) -> bool {
        self.may_use(topic, &self.publishing)
    }

    /// Whether the application may subscribe to a topic.
    #[must_use]
    pub fn may_subscribe(&self, topic: &str) -> bool {
        self.may_use(topic, &self.subscription)
    }

    /// A scope limits the application to its topics; a protected topic needs one that names it.
    fn may_use(&self, topic: &str, scope: &HashSet<String>) -> bool {
        if !self.allowed.is_empty() && !self.allowed.contains(topic) {
            return false;
        }
        if scope.is_empty() && !self.protected.contains(topic) {
            return true;
        }
        scope.contains(topic)
    }
}

fn topics(list: &str) -> HashSet<String> {
    let list = list.replace(' ', "");
    if list.is_empty() { HashSet::new() } else { list.split(',').map(str::to_owned).collect() }
}

/// The topics of `app1=topic1,topic2;app2=topic3` that are one application's. `app1=` leaves it the topic without a name, which
/// is to say none.
fn scoped_topics(app_id: &str, scopes: &str) -> HashSet<String> {
    let scopes = scopes.replace(' ', "");
    let mut topics = HashSet::new();
    for scope in scopes.split(';') {
        let mut parts = scope.split('=');
        if let (Some(app), Some(list)) = (parts.next(), parts.next())
            && app == app_id
        {
            topics.extend(list.split(',').map(str::to_owned));
        }
    }
    topics
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes(metadata: &[(&'static str, &'static str)]) -> TopicScopes {
        TopicScopes::for_app("app1", metadata.iter().copied())
    }

    fn set(topics: &[&str]) -> HashSet<String> {
        topics.iter().map(|topic| (*topic).to_owned()).collect()
    }

    #[test]
    fn reads_lists_as_dapr_does() {
        for (value, expected) in [
            ("", &[][..]),
            ("topic1", &["topic1"]),
            ("topic1, topic2 ,topic3", &["topic1", "topic2", "topic3"]),
            ("topic1, topic1", &["topic1"]),
        ] {
            assert_eq!(scopes(&[("Allowedtopics", value)]).allowed, set(expected), "{value}");
            assert_eq!(scopes(&[("protectedTOPICS", value)]).protected, set(expected), "{value}");
        }
        for (value, expected) in [
            ("", &[][..]),
            ("app2=topic1", &[]),
            ("app1=topic1, topic2", &["topic1", "topic2"]),
            ("app1=topic1;app1=topic2", &["topic1", "topic2"]),
            ("app1;app2=topic2", &[]),
            ("app1=topic1;app2", &["topic1"]),
            ("app1=topic1=topic2", &["topic1"]),
            ("app1=", &[""]),
        ] {
            assert_eq!(scopes(&[("Subscriptionscopes", value)]).subscription, set(expected), "{value}");
            assert_eq!(scopes(&[("publishingScopes", value)]).publishing, set(expected), "{value}");
        }
    }

    #[test]
    fn decides_as_dapr_does() {
        assert!(scopes(&[]).may_publish("any") && scopes(&[]).may_subscribe(""));

        let allowed = scopes(&[("allowedTopics", "topic1")]);
        assert!(allowed.may_publish("topic1") && !allowed.may_publish("topic2"));

        let protected = scopes(&[("protectedTopics", "topic1"), ("publishingScopes", "app2=topic1")]);
        assert!(!protected.may_publish("topic1") && protected.may_publish("topic2"));

        let scoped = scopes(&[("protectedTopics", "topic1"), ("publishingScopes", "app1=topic1")]);
        assert!(scoped.may_publish("topic1") && !scoped.may_publish("topic2"));
        assert!(!scoped.may_subscribe("topic1") && scoped.may_subscribe("topic2"));

        let both = scopes(&[("allowedTopics", "topic1"), ("publishingScopes", "app1=topic2")]);
        assert!(!both.may_publish("topic2") && !both.may_publish("topic1"));

        let nothing = scopes(&[("publishingScopes", "app1=;app2=topic1")]);
        assert!(!nothing.may_publish("topic1") && nothing.may_subscribe("topic1"));
    }
}
