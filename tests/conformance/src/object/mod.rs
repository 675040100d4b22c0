//! Object stores: `store.rs` opens one, and the checks stand by what they are about.

mod address;
mod conditions;
mod copying;
mod listing;
mod reading;
mod store;
mod writing;

use crate::subject::Subject;
use crate::{Tell, run};

use address::an_address_serves_whoever_has_it;
use conditions::{
    a_deletion_depends_on_the_etag, a_reading_depends_on_the_etag, a_writing_depends_on_the_etag,
    of_two_that_create_it_one_does,
};
use copying::{a_copy_depends_on_both_objects, a_copy_has_all_of_its_source, nothing_cannot_be_copied};
use listing::{
    a_cursor_that_is_not_the_stores_is_refused, a_delimiter_folds_keys, a_listing_goes_on_behind_its_cursor,
    a_listing_has_its_prefix_only,
};
use reading::{
    a_part_outside_is_refused, a_reader_that_goes_away_harms_nobody, an_object_streams_through, parts_are_got,
};
use writing::{
    a_deletion_deletes_also_what_is_not_there, an_object_is_replaced_whole, any_key_is_kept_or_refused,
    nothing_is_there_of_what_was_aborted, the_back_end_answers, what_is_not_there_is_not_found,
    what_is_put_is_got,
};

pub(crate) async fn all(subject: &Subject<'_>, tell: Tell<'_>) {
    run!(
        subject,
        tell,
        [
            the_back_end_answers,
            what_is_put_is_got,
            any_key_is_kept_or_refused,
            what_is_not_there_is_not_found,
            a_deletion_deletes_also_what_is_not_there,
            an_object_is_replaced_whole,
            nothing_is_there_of_what_was_aborted,
            an_object_streams_through,
            parts_are_got,
            a_part_outside_is_refused,
            a_reader_that_goes_away_harms_nobody,
            a_reading_depends_on_the_etag,
            a_writing_depends_on_the_etag,
            a_deletion_depends_on_the_etag,
            of_two_that_create_it_one_does,
            a_listing_goes_on_behind_its_cursor,
            a_listing_has_its_prefix_only,
            a_delimiter_folds_keys,
            a_cursor_that_is_not_the_stores_is_refused,
            a_copy_has_all_of_its_source,
            a_copy_depends_on_both_objects,
            nothing_cannot_be_copied,
            an_address_serves_whoever_has_it,
        ]
    );
}
