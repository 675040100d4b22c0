//! Listings: pages in the order of the keys.

use mecha_plugin_api::ErrorKind;
use mecha_plugin_api::object::{ListPage, ListRequest};

use super::store::{Store, refused};
use crate::row::Lack;
use crate::subject::{Subject, unique};
use crate::{Checked, because, is};

/// Objects of a listing.
const COUNT: usize = 7;
/// Objects of a page.
const PAGE: u32 = 3;

fn list(prefix: &str) -> ListRequest {
    ListRequest { prefix: prefix.into(), limit: 100, ..ListRequest::default() }
}

fn keys(page: &ListPage) -> Vec<String> {
    page.objects.iter().map(|head| head.key.to_string()).collect()
}

/// Every page of a listing, of which none is larger than it may be.
async fn pages(store: &Store, mut request: ListRequest) -> Result<Vec<ListPage>, String> {
    let mut pages = Vec::new();
    loop {
        let page = store.list(request.clone()).await.map_err(because)?;
        let size = page.objects.len() + page.prefixes.len();
        is("a page is larger than it may be", size > request.limit as usize, false)?;
        is("there is no end", pages.len() > COUNT, false)?;
        request.cursor = page.cursor.clone();
        pages.push(page);
        if request.cursor.is_empty() {
            return Ok(pages);
        }
    }
}

pub(super) async fn a_listing_goes_on_behind_its_cursor(subject: &Subject<'_>) -> Checked {
    let (store, folder) = (Store::open(subject).await?, unique("list"));
    let mut names: Vec<String> = (0..COUNT).map(|number| format!("{folder}/{number}.txt")).collect();
    // By their bytes: capitals stand between figures and small letters.
    names[COUNT - 2] = format!("{folder}/Z.txt");
    names[COUNT - 1] = format!("{folder}/a.txt");
    for (number, name) in names.iter().enumerate() {
        store.put(name, &vec![b'x'; number]).await?;
    }
    let found = pages(&store, ListRequest { limit: PAGE, ..list(&format!("{folder}/")) }).await?;
    is("keys", found.iter().flat_map(keys).collect::<Vec<_>>(), names.clone())?;
    for (number, head) in found.iter().flat_map(|page| &page.objects).enumerate() {
        is("size", head.size, number as u64)?;
    }
    // What comes behind the cursor is listed, although the object at the cursor has gone.
    let first = store.list(ListRequest { limit: PAGE, ..list(&format!("{folder}/")) }).await;
    let first = first.map_err(because)?;
    store.delete(keys(&first)).await?;
    let rest = ListRequest { cursor: first.cursor, ..list(&format!("{folder}/")) };
    is("the rest", keys(&store.list(rest).await.map_err(because)?), names[PAGE as usize..].to_vec())?;
    store.delete(names).await
}

pub(super) async fn a_listing_has_its_prefix_only(subject: &Subject<'_>) -> Checked {
    let (store, folder) = (Store::open(subject).await?, unique("prefix"));
    let names = ["ab", "ac", "b"].map(|name| format!("{folder}/{name}"));
    for name in &names {
        store.put(name, b"x").await?;
    }
    for (prefix, expected) in [("a", &names[..2]), ("ac", &names[1..2]), ("", &names[..]), ("c", &[])] {
        let page = store.list(list(&format!("{folder}/{prefix}"))).await.map_err(because)?;
        is(prefix, keys(&page), expected.to_vec())?;
        is("cursor of the last page", &*page.cursor, "")?;
    }
    store.delete(names).await
}

pub(super) async fn a_delimiter_folds_keys(subject: &Subject<'_>) -> Checked {
    let (store, folder) = (Store::open(subject).await?, unique("fold"));
    let names = ["a", "d/b", "d/c/e", "f/g", "h"].map(|name| format!("{folder}/{name}"));
    for name in &names {
        store.put(name, b"x").await?;
    }
    let folded = ["d/", "f/"].map(|name| format!("{folder}/{name}"));
    for limit in [100, 1] {
        let request = ListRequest { delimiter: "/".into(), limit, ..list(&format!("{folder}/")) };
        let found = pages(&store, request).await?;
        let prefixes: Vec<_> =
            found.iter().flat_map(|page| &page.prefixes).map(ToString::to_string).collect();
        is("prefixes", prefixes, folded.to_vec())?;
        let objects: Vec<_> = found.iter().flat_map(keys).collect();
        is("objects", objects, vec![names[0].clone(), names[4].clone()])?;
    }
    store.delete(names).await
}

pub(super) async fn a_cursor_that_is_not_the_stores_is_refused(subject: &Subject<'_>) -> Checked {
    let store = Store::open(subject).await?;
    if !subject.row.has(Lack::Cursor) {
        return Ok(());
    }
    let request = ListRequest { cursor: "\u{1}no cursor".into(), ..list("") };
    refused("list", store.list(request).await, ErrorKind::INVALID, Some("cursor"))
}
