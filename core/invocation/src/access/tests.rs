use super::*;

fn identity(app_id: &str) -> Identity {
    Identity { trust_domain: "public".into(), namespace: "ns".into(), app_id: app_id.into() }
}

fn rule(name: &str, verbs: &[&str], action: &str) -> OperationRule {
    let http_verbs = verbs.iter().map(|verb| (*verb).to_owned()).collect();
    OperationRule { name: name.into(), http_verbs, action: action.into() }
}

fn list(default: &str, own: &str, is_http: bool) -> AccessList {
    let operations = vec![
        rule("/Op1", &["POST", "GET"], "allow"),
        rule("op2/*", &["*"], "allow"),
        rule("/op3", &["PUT"], "deny"),
    ];
    let caller = CallerRules { identity: identity("a"), default_action: own.into(), operations };
    AccessList::new(AccessRules { default_action: default.into(), callers: vec![caller] }, is_http).unwrap()
}

fn asks(list: &AccessList, caller: Option<&str>, operation: &str, verb: &str) -> (bool, bool) {
    let caller = caller.map(identity);
    let (decision, result) = list.check(Asked { caller: caller.as_ref(), operation, verb });
    assert_eq!(decision.is_allowed, result.is_ok());
    (decision.is_allowed, decision.is_of_app)
}

#[test]
fn who_is_unknown_is_treated_as_everybody() {
    for (default, expected) in
        [("allow", true), ("Allow", true), ("deny", false), ("", false), ("maybe", false)]
    {
        let list = list(default, "allow", true);
        for caller in [None, Some("b")] {
            assert_eq!(asks(&list, caller, "op1", "POST"), (expected, false), "{default} {caller:?}");
        }
    }
    let open = AccessList::new(AccessRules::default(), true).unwrap();
    assert_eq!(asks(&open, None, "x", "GET"), (true, false));
}

#[test]
fn a_caller_of_another_trust_domain_or_namespace_is_another() {
    let list = list("deny", "allow", true);
    for other in [
        Identity { trust_domain: "other".into(), ..identity("a") },
        Identity { namespace: "other".into(), ..identity("a") },
    ] {
        let (decision, _) = list.check(Asked { caller: Some(&other), operation: "x", verb: "GET" });
        assert!(!decision.is_allowed && !decision.is_of_app);
    }
}

#[test]
fn over_http_verbs_count_and_case_does_not() {
    let list = list("allow", "deny", true);
    for (operation, verb, expected) in [
        ("OP1", "POST", true),
        ("/op1", "GET", true),
        ("op1", "PUT", false),
        ("op1", "NONE", false),
        ("op2/x", "DELETE", true),
        ("op2/x/y", "DELETE", false),
        ("op3", "PUT", false),
        ("other", "GET", false),
    ] {
        assert_eq!(asks(&list, Some("a"), operation, verb), (expected, true), "{operation} {verb}");
    }
}

#[test]
fn over_grpc_verbs_do_not_count_and_case_does() {
    let list = list("allow", "deny", false);
    for (operation, expected) in [("/Op1", true), ("/op1", false), ("op2/x", true), ("/op3", false)] {
        assert_eq!(asks(&list, Some("a"), operation, "NONE"), (expected, true), "{operation}");
    }
}

#[test]
fn without_a_default_of_its_own_a_caller_has_everybody_s() {
    let list = list("allow", "", true);
    assert_eq!(asks(&list, Some("a"), "other", "GET"), (true, false));
    assert_eq!(asks(&list, Some("a"), "op3", "PUT"), (false, false));
    assert_eq!(asks(&list, Some("a"), "op1", "NONE"), (false, false), "no verb, no action: as in Dapr");
}

#[test]
fn refusals_are_in_dapr_s_words() {
    let text = |caller: Option<&Identity>, is_http| {
        let list = list("deny", "deny", is_http);
        list.check(Asked { caller, operation: "m", verb: "POST" }).1.unwrap_err()
    };
    let denied = "access control policy has denied access to id:";
    assert_eq!(text(None, true), format!("{denied}  operation: m verb: POST"));
    let known = format!("{denied} spiffe://public/ns/ns/a operation: m verb: NONE");
    assert_eq!(text(Some(&identity("a")), false), known);

    let caller = |app_id: &str, trust_domain: &str, namespace: &str| CallerRules {
        identity: Identity {
            app_id: app_id.into(),
            trust_domain: trust_domain.into(),
            namespace: namespace.into(),
        },
        ..CallerRules::default()
    };
    let callers = vec![caller("a", "", ""), caller("b", "t", ""), caller("", "t", "n")];
    let error = AccessList::new(AccessRules { callers, ..AccessRules::default() }, true).unwrap_err();
    assert_eq!(
        error.to_string(),
        "invalid access control spec. missing trustdomain for apps: [a], missing namespace for apps: [a b], missing app name on at least one of the app policies: true"
    );
}
