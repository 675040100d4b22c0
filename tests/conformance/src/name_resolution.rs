//! Name resolution.

use mecha_plugin_api::name_resolution::{NameResolutionObject, Registration, Resolution, ResolveRequest};
use mecha_plugin_api::{Error, ErrorKind, Metadata};

use crate::row::Lack;
use crate::subject::{Subject, context, unique};
use crate::{Checked, Tell, because, is, run};

const PORT: u16 = 50_002;

pub(crate) async fn all(subject: &Subject<'_>, tell: Tell<'_>) {
    run!(subject, tell, [the_back_end_answers, nothing_registered_is_nothing_to_take_back]);
    if subject.row.has(Lack::Registration) {
        run!(
            subject,
            tell,
            [who_registers_is_found, each_of_several_is_found, who_is_not_there_is_not_found]
        );
    } else {
        run!(subject, tell, [any_name_has_an_address]);
    }
}

async fn resolve(resolver: &NameResolutionObject, app_id: &str) -> Result<Resolution, Error> {
    let request = ResolveRequest {
        app_id: app_id.into(),
        namespace: "default".into(),
        port: PORT,
        metadata: Metadata::new(),
    };
    resolver.resolve(context(), request).await.into_result()
}

async fn register(resolver: &NameResolutionObject, app_id: &str, port: u16) -> Checked {
    let registration = Registration {
        app_id: app_id.into(),
        namespace: "default".into(),
        address: "127.0.0.1".into(),
        port,
        http_port: port + 1,
        app_port: port + 2,
        metadata: Metadata::new(),
    };
    resolver.register(context(), registration).await.into_result().map_err(because)
}

async fn unregister(resolver: &NameResolutionObject) -> Checked {
    resolver.unregister(context()).await.into_result().map_err(because)
}

async fn is_missing(resolver: &NameResolutionObject, app_id: &str) -> Checked {
    match resolve(resolver, app_id).await {
        Err(error) if error.kind() == ErrorKind::NOT_FOUND => Ok(()),
        Err(error) => Err(format!("another kind of error: {error}")),
        Ok(found) => Err(format!("there is one: {:?}", found.addresses)),
    }
}

/// A port for each check, so that what one leaves behind is nothing to another.
fn ports() -> u16 {
    let spread =
        unique("port").bytes().fold(0_u16, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    10_000 + spread % 30_000
}

async fn the_back_end_answers(subject: &Subject<'_>) -> Checked {
    let resolver: NameResolutionObject = subject.open().await?;
    resolver.ping(context()).await.into_result().map_err(because)
}

async fn nothing_registered_is_nothing_to_take_back(subject: &Subject<'_>) -> Checked {
    unregister(&subject.open().await?).await
}

async fn who_registers_is_found(subject: &Subject<'_>) -> Checked {
    let (here, there, app_id, port) = (subject.open().await?, subject.open().await?, unique("app"), ports());
    is_missing(&there, &app_id).await?;
    register(&here, &app_id, port).await?;
    let found = resolve(&there, &app_id).await.map_err(because)?;
    is("addresses", found.addresses.to_vec(), vec![format!("127.0.0.1:{port}").into()])?;
    unregister(&here).await?;
    is_missing(&there, &app_id).await
}

async fn each_of_several_is_found(subject: &Subject<'_>) -> Checked {
    let (one, two, app_id, port) = (subject.open().await?, subject.open().await?, unique("app"), ports());
    register(&one, &app_id, port).await?;
    register(&two, &app_id, port + 10).await?;
    let mut found = resolve(&one, &app_id).await.map_err(because)?.addresses.to_vec();
    found.sort();
    let expected = vec![format!("127.0.0.1:{port}").into(), format!("127.0.0.1:{}", port + 10).into()];
    is("addresses", found, expected)?;
    unregister(&one).await?;
    let left = resolve(&two, &app_id).await.map_err(because)?.addresses;
    is("addresses", left.to_vec(), vec![format!("127.0.0.1:{}", port + 10).into()])?;
    unregister(&two).await
}

async fn who_is_not_there_is_not_found(subject: &Subject<'_>) -> Checked {
    is_missing(&subject.open().await?, &unique("app")).await
}

/// For resolvers that make an address out of the name.
async fn any_name_has_an_address(subject: &Subject<'_>) -> Checked {
    let resolver: NameResolutionObject = subject.open().await?;
    register(&resolver, "one", PORT).await?;
    let one = resolve(&resolver, "one").await.map_err(because)?;
    let two = resolve(&resolver, "two").await.map_err(because)?;
    for found in [&one, &two] {
        is("there is no address", found.addresses.is_empty(), false)?;
        let ported = found
            .addresses
            .iter()
            .all(|address| address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()));
        is("each has a port", ported, true)?;
    }
    is("two applications have the same addresses", one.addresses == two.addresses, false)?;
    unregister(&resolver).await
}
