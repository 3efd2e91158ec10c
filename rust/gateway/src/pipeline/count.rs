//! How many tokens a request has: counted here, so that it costs nothing and is the same whoever serves the model.

use super::Admitted;
use super::failure::Failure;
use super::intake::Intake;
use super::reply::{self, ReplyBody};
use super::translate::join;
use super::whole::aside;
use fairlead_formats::counted;
use fairlead_ir::ErrorKind;
use fairlead_tokens::count_request;
use http::Response;

/// Answers with the count, in the caller's dialect.
pub(crate) async fn answer(admitted: &Admitted<'_>, intake: Intake) -> Result<Response<ReplyBody>, Failure> {
    let Admitted { snapshot, choice, dialect, .. } = *admitted;
    let (body, model) = (join(&intake.frames), choice.model(snapshot).id.clone());
    let count = aside(intake.bytes as usize, move || count_request(&body, dialect, Some(&model))).await?;
    let count = count.map_err(|error| Failure::new(ErrorKind::InvalidRequest, error.to_string()))?;
    let body = counted::body(dialect, count.total(), count.media == 0)
        .ok_or_else(|| Failure::new(ErrorKind::Internal, "this dialect has no answer to a count"))?;
    Ok(reply::counted(choice.model(snapshot), body))
}
