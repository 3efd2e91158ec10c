//! Looking at responses that were kept, and deleting them: of the caller's account alone.

use super::failure::{Failure, shown};
use super::reply::{self, ReplyBody};
use super::stateful::find;
use super::whole::undone;
use crate::responses::{Bounds, Head};
use crate::routes::{Kept, Wish};
use crate::worker::{Shared, Worker, unix_ms};
use fairlead_formats::conversation::{self, Page};
use fairlead_ir::{ErrorKind, percent};
use fairlead_snapshot::{Principal, Snapshot};
use http::Response;
use tokio::task::spawn_blocking;

/// Answers what is asked of a kept response.
pub(crate) async fn answer(
    worker: &Worker,
    snapshot: &Snapshot,
    principal: &Principal,
    kept: Kept,
    query: Option<&str>,
) -> Result<Response<ReplyBody>, Failure> {
    let Some((_, bounds)) = worker.shared.kept(snapshot) else {
        let message = "this gateway keeps no responses ([responses] store is false)";
        return Err(Failure::new(ErrorKind::NotFound, message));
    };
    let page = page(query.unwrap_or_default())?;
    let asked = Asked { bounds, account: principal.account, kept, page };
    let shared = worker.shared.clone();
    let body = spawn_blocking(move || asked.run(&shared)).await.map_err(undone)??;
    Ok(reply::text(200, "application/json", body))
}

fn page(query: &str) -> Result<Page, Failure> {
    let wrong = |(param, message)| Failure::new(ErrorKind::InvalidRequest, message).param(Some(param));
    if query.split('&').any(|pair| pair == "stream=true") {
        return Err(wrong((
            "stream",
            "only replies that are made in the background could be streamed again; leave \"stream\" out".to_owned(),
        )));
    }
    Page::read(query, percent::decode).map_err(wrong)
}

/// What is asked, with all that it needs: files are not read on a worker's thread.
struct Asked {
    bounds: Bounds,
    account: u64,
    kept: Kept,
    page: Page,
}

impl Asked {
    fn run(&self, shared: &Shared) -> Result<Vec<u8>, Failure> {
        let id = &self.kept.id;
        match self.kept.wish {
            Wish::Show => self.find(shared, |_, response| Ok(response.reply.to_vec())),
            Wish::ListInput => {
                let no_such_item = || Failure::new(ErrorKind::InvalidRequest, "\"after\" is none of the items").param(Some("after"));
                self.find(shared, |_, response| conversation::page(id, response.input, &self.page).ok_or_else(no_such_item))
            }
            Wish::Cancel => self.find(shared, |_, _| Err(Failure::new(ErrorKind::InvalidRequest, "Cannot cancel a synchronous response."))),
            Wish::Delete => {
                let made = self.find(shared, |head, _| Ok(head))?;
                // First: while a copy is there it can be deleted once more.
                shared.repeats.forget_response(made.key, id, made.kept_at_ms, unix_ms()).map_err(|error| {
                    Failure::store(format!("the response is kept under an Idempotency-Key, where it cannot be deleted now: {error}"))
                })?;
                if let Some(responses) = &shared.responses {
                    responses.delete(self.account, id);
                }
                Ok(conversation::deleted(id))
            }
        }
    }

    fn find<T>(
        &self,
        shared: &Shared,
        read: impl FnOnce(Head, &crate::responses::Response<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let id = &self.kept.id;
        let unknown = || Failure::new(ErrorKind::NotFound, format!("Response with id {} not found.", shown(id)));
        find(shared, self.bounds, self.account, id, read).ok_or_else(unknown)?
    }
}
