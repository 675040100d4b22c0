//! Middleware. What becomes of a request is said by the row: it passes, or is answered with a status.

use mecha_plugin_api::middleware::{
    Decision, Headers, HttpAnswer, HttpRequest, MiddlewareObject, Needs, Passed,
};
use mecha_plugin_api::{Buf, ROption};

use crate::subject::{Subject, context};
use crate::{Checked, Tell, because, is, run};

const BODY: &str = "some text";

pub(crate) async fn all(subject: &Subject<'_>, tell: Tell<'_>) {
    run!(
        subject,
        tell,
        [the_back_end_answers, its_needs_stay, a_request_is_decided, an_answer_on_its_way_back_stays_one]
    );
}

/// A request as a caller without any credentials sends it; with a body where it is needed.
fn request(needs: Needs) -> HttpRequest {
    let body = needs.contain(Needs::REQUEST_BODY).then(|| Buf::from(BODY.to_owned()));
    HttpRequest {
        method: "POST".into(),
        uri: "/v1.0/invoke/app/method/orders?kind=new".into(),
        headers: Headers::from_iter([("host", "localhost:3500"), ("content-type", "text/plain")]),
        remote: "127.0.0.1".into(),
        body: body.into(),
    }
}

async fn decide(middleware: &MiddlewareObject) -> Result<Decision, String> {
    let request = request(middleware.needs());
    middleware.request(context(), request).await.into_result().map_err(because)
}

async fn the_back_end_answers(subject: &Subject<'_>) -> Checked {
    let middleware: MiddlewareObject = subject.open().await?;
    middleware.ping(context()).await.into_result().map_err(because)
}

async fn its_needs_stay(subject: &Subject<'_>) -> Checked {
    let middleware: MiddlewareObject = subject.open().await?;
    let needs = middleware.needs();
    decide(&middleware).await?;
    is("needs", middleware.needs(), needs)
}

async fn a_request_is_decided(subject: &Subject<'_>) -> Checked {
    let middleware: MiddlewareObject = subject.open().await?;
    match decide(&middleware).await? {
        Decision::Answer(answer) => is("answer", Some(answer.status), subject.row.answers),
        Decision::Pass(Passed { request: passed, .. }) => {
            is("it passes, and the answer is", None, subject.row.answers)?;
            let ROption::RSome(passed) = passed else { return Ok(()) };
            is("method", &*passed.method, "POST")?;
            is("the path is one", passed.uri.starts_with('/'), true)
        }
    }
}

/// For middleware that looks at answers.
async fn an_answer_on_its_way_back_stays_one(subject: &Subject<'_>) -> Checked {
    let middleware: MiddlewareObject = subject.open().await?;
    let needs = middleware.needs();
    let Decision::Pass(passed) = decide(&middleware).await? else { return Ok(()) };
    if !needs.contain(Needs::ANSWER) {
        return Ok(());
    }
    let mut answer = HttpAnswer::text(201, BODY);
    if !needs.contain(Needs::ANSWER_BODY) {
        answer.body = ROption::RNone;
    }
    let answer = middleware.answer(context(), passed.state, answer).await.into_result().map_err(because)?;
    is("status", answer.status, 201)
}
