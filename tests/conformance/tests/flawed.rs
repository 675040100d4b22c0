//! Every check can fail: each is held to a component with a flaw that it must find.

use std::collections::BTreeSet;

use anyhow::Result;
use mecha_conformance::{Key, Lack, Outcome, Row, check};
use mecha_testkit::fixture;
use tokio::task::JoinSet;

const CRYPTO: &str = "crypto.flawed";
const CONVERSATION: &str = "conversation.flawed";
const MIDDLEWARE: &str = "middleware.http.flawed";
const NAMES: &str = "nameresolution.flawed";
/// The same type, of which the row says that nobody registers.
const MADE_NAMES: &str = "nameresolution.flawed, made";
const OBJECTS: &str = "objects.flawed";
const TYPES: [&str; 6] = [CRYPTO, CONVERSATION, MIDDLEWARE, NAMES, MADE_NAMES, OBJECTS];

/// A component type, its flaw, and the check that must find it.
const FLAWS: &[(&str, &str, &str)] = &[
    (CRYPTO, "dead", "the back end answers"),
    (CRYPTO, "plain", "what is wrapped is unwrapped"),
    (CRYPTO, "any tag", "what was changed is not unwrapped"),
    (CRYPTO, "one key", "another key does not unwrap"),
    (CRYPTO, "any key", "a key that is not there is not found"),
    (CRYPTO, "any algorithm", "an algorithm that it lacks is refused"),
    (CONVERSATION, "dead", "the back end answers"),
    (CONVERSATION, "no output", "a question is answered"),
    (CONVERSATION, "no choice", "a question is answered"),
    (CONVERSATION, "no content", "a question is answered"),
    (CONVERSATION, "no reason", "a question is answered"),
    (CONVERSATION, "no call", "a question is answered"),
    (CONVERSATION, "wrong index", "a question is answered"),
    (CONVERSATION, "wrong sum", "a question is answered"),
    (CONVERSATION, "calls nothing at hand", "a question is answered"),
    (CONVERSATION, "no system", "a conversation goes on"),
    (CONVERSATION, "calls another tool", "a tool at hand may be called"),
    (CONVERSATION, "no tool results", "what a tool gave is taken"),
    (MIDDLEWARE, "dead", "the back end answers"),
    (MIDDLEWARE, "other needs", "its needs stay"),
    (MIDDLEWARE, "closed", "a request is decided"),
    (MIDDLEWARE, "other method", "a request is decided"),
    (MIDDLEWARE, "no path", "a request is decided"),
    (MIDDLEWARE, "other status", "an answer on its way back stays one"),
    (NAMES, "dead", "the back end answers"),
    (NAMES, "wants one", "nothing registered is nothing to take back"),
    (NAMES, "deaf", "who registers is found"),
    (NAMES, "stays", "who registers is found"),
    (NAMES, "the last only", "each of several is found"),
    (NAMES, "anybody", "who is not there is not found"),
    (MADE_NAMES, "dead", "the back end answers"),
    (MADE_NAMES, "wants one", "nothing registered is nothing to take back"),
    (MADE_NAMES, "none", "any name has an address"),
    (MADE_NAMES, "no port", "any name has an address"),
    (MADE_NAMES, "one for all", "any name has an address"),
    (OBJECTS, "dead", "the back end answers"),
    (OBJECTS, "no metadata", "what is put is got"),
    (OBJECTS, "tidies keys", "any key is kept or refused"),
    (OBJECTS, "another refusal", "what is not there is not found"),
    (OBJECTS, "deletes once", "a deletion deletes also what is not there"),
    (OBJECTS, "shows what is unfinished", "an object is replaced whole"),
    (OBJECTS, "keeps what is aborted", "nothing is there of what was aborted"),
    (OBJECTS, "zeros in the middle", "an object streams through"),
    (OBJECTS, "one byte less", "parts are got"),
    (OBJECTS, "nothing outside", "a part outside is refused"),
    (OBJECTS, "breaks with its reader", "a reader that goes away harms nobody"),
    (OBJECTS, "reads anyway", "a reading depends on the etag"),
    (OBJECTS, "writes anyway", "a writing depends on the etag"),
    (OBJECTS, "deletes anyway", "a deletion depends on the etag"),
    (OBJECTS, "checks too early", "of two that create it one does"),
    (OBJECTS, "begins at its cursor", "a listing goes on behind its cursor"),
    (OBJECTS, "any prefix", "a listing has its prefix only"),
    (OBJECTS, "folds nothing", "a delimiter folds keys"),
    (OBJECTS, "any cursor", "a cursor that is not the stores is refused"),
    (OBJECTS, "copies bytes only", "a copy has all of its source"),
    (OBJECTS, "copies anyway", "a copy depends on both objects"),
    (OBJECTS, "copies over", "a copy depends on both objects"),
    (OBJECTS, "copies nothing", "nothing cannot be copied"),
    (OBJECTS, "an address that it lacks", "an address serves whoever has it"),
];

fn row(subject: &str, flaw: &str) -> Row {
    let mut row = Row::new(subject.split(',').next().unwrap_or(subject), "v1");
    row.metadata.insert("flaw", flaw);
    row.keys = ["one", "two"].map(|name| Key { name: name.to_owned(), algorithm: "MECHA".to_owned() }).into();
    if subject == MADE_NAMES {
        row.metadata.insert("made", "true");
        row.without.insert(Lack::Registration);
    }
    row
}

/// What ran, and what of it failed.
async fn checks(subject: &str, flaw: &str) -> Result<(BTreeSet<String>, BTreeSet<String>)> {
    let (mut ran, mut failed) = (BTreeSet::new(), BTreeSet::new());
    let mut tell = |Outcome { check, result, .. }: Outcome| {
        if let Err(reason) = result {
            println!("{subject}, {flaw:?}: {check}: {reason}");
            failed.insert(check.clone());
        }
        ran.insert(check);
    };
    check(&fixture("flawed")?, &row(subject, flaw), &mut tell).await?;
    Ok((ran, failed))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_flaw_is_found() {
    let mut running = JoinSet::new();
    for (subject, flaw, finder) in FLAWS {
        running.spawn(async move {
            let (_, failed) = checks(subject, flaw).await.unwrap();
            (!failed.contains(*finder)).then(|| format!("{subject}: {finder} passes although {flaw:?}"))
        });
    }
    let unseen: Vec<_> = running.join_all().await.into_iter().flatten().collect();
    assert!(unseen.is_empty(), "{}", unseen.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_flaw_all_passes_and_each_check_has_one_to_find() {
    for subject in TYPES {
        let (ran, failed) = checks(subject, "").await.unwrap();
        assert!(failed.is_empty(), "{subject}: {failed:?}");
        let finders = FLAWS.iter().filter(|(with, ..)| *with == subject);
        let finders: BTreeSet<_> = finders.map(|(.., check)| (*check).to_owned()).collect();
        assert_eq!(ran, finders, "{subject}");
    }
}
