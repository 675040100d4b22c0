//! Which of the loaded resources concern one application, and what changed since the last time.

use std::fmt;

/// A named resource that may be limited to some applications.
pub trait Selectable {
    /// The kind, as error texts name it.
    const KIND: &'static str;

    /// The resource's name.
    fn name(&self) -> &str;
    /// The namespace of its file, empty when the file names none.
    fn namespace(&self) -> &str;
    /// The application ids that may use it; empty means all.
    fn scopes(&self) -> &[String];
    /// The resource as log lines and error texts name it.
    fn log_name(&self) -> String;

    /// Whether an application may use it.
    fn is_in_scope(&self, app_id: &str) -> bool {
        self.scopes().is_empty() || self.scopes().iter().any(|scope| scope == app_id)
    }
}

/// Two or more resources of one kind share a name. One line for each; the text is Dapr's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Duplicates(pub Vec<String>);

impl fmt::Display for Duplicates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for Duplicates {}

/// Keeps what is in the application's scope and in the process's namespace (`None` when the process has none, which
/// admits every namespace). A name that an admitted resource already has is an error, even where the later resource
/// is out of scope: that is the order in which Dapr checks.
pub fn select_for<T: Selectable>(
    resources: Vec<T>,
    app_id: &str,
    namespace: Option<&str>,
) -> Result<Vec<T>, Duplicates> {
    let mut selected: Vec<T> = Vec::with_capacity(resources.len());
    let mut duplicates = Vec::new();
    for resource in resources {
        let elsewhere = namespace.is_some_and(|own| {
            !own.is_empty() && !resource.namespace().is_empty() && resource.namespace() != own
        });
        if elsewhere {
            continue;
        }
        if let Some(existing) = selected.iter().find(|other| other.name() == resource.name()) {
            duplicates.push(format!(
                "duplicate definition of {} name {} with existing {}",
                T::KIND,
                resource.log_name(),
                existing.log_name()
            ));
            continue;
        }
        if resource.is_in_scope(app_id) {
            selected.push(resource);
        }
    }
    if duplicates.is_empty() { Ok(selected) } else { Err(Duplicates(duplicates)) }
}

/// What a reload has to do, by name. Resources that are equal before and after do not appear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes<T> {
    /// New names.
    pub added: Vec<T>,
    /// Known names with another content: before and after.
    pub changed: Vec<(T, T)>,
    /// Names that are gone.
    pub removed: Vec<T>,
}

impl<T: Selectable + PartialEq + Clone> Changes<T> {
    /// Compares two selections.
    #[must_use]
    pub fn between(before: &[T], after: &[T]) -> Self {
        let find = |among: &[T], name: &str| among.iter().find(|other| other.name() == name).cloned();
        let mut changes = Self { added: Vec::new(), changed: Vec::new(), removed: Vec::new() };
        for new in after {
            match find(before, new.name()) {
                None => changes.added.push(new.clone()),
                Some(old) if old != *new => changes.changed.push((old, new.clone())),
                Some(_) => {}
            }
        }
        changes.removed = before.iter().filter(|old| find(after, old.name()).is_none()).cloned().collect();
        changes
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Component;

    fn component(name: &str, scopes: &[&str]) -> Component {
        let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        Component { scopes, version: "v1".into(), ..Component::new(name, "state.redis") }
    }

    #[test]
    fn keeps_what_is_in_scope_and_namespace() {
        let mut other = component("c", &[]);
        other.namespace = "other".into();
        let all = vec![component("a", &["app"]), component("b", &["else"]), other];
        let names = |namespace| -> Vec<String> {
            let selected = select_for(all.clone(), "app", namespace).unwrap();
            selected.into_iter().map(|component| component.name).collect()
        };
        assert_eq!(names(Some("mine")), ["a"]);
        assert_eq!(names(None), ["a", "c"]);
        assert_eq!(names(Some("")), ["a", "c"]);
    }

    #[test]
    fn refuses_duplicates_in_daprs_words() {
        let mut second = component("x", &["else"]);
        second.component_type = "state.sqlite".into();
        let error = select_for(vec![component("x", &[]), second.clone()], "app", None).unwrap_err();
        let expected =
            "duplicate definition of Component name x (state.sqlite/v1) with existing x (state.redis/v1)";
        assert_eq!(error.to_string(), expected);
        // The first being out of scope, the name is free.
        assert_eq!(select_for(vec![second, component("x", &[])], "app", None).unwrap().len(), 1);
    }

    #[test]
    fn tells_what_changed() {
        let before = [component("same", &[]), component("gone", &[]), component("other", &[])];
        let after = [component("other", &["app"]), component("same", &[]), component("new", &[])];
        let changes = Changes::between(&before, &after);
        assert_eq!(changes.added, [component("new", &[])]);
        assert_eq!(changes.changed, [(component("other", &[]), component("other", &["app"]))]);
        assert_eq!(changes.removed, [component("gone", &[])]);
        assert!(Changes::between(&before, &before).is_empty());
    }
}
