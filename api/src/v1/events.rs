//! `/v1/events`: what was or will be delivered.

use actix_web::{HttpRequest, HttpResponse, web};
use engine::{EngineHandle, StoredEvent};
use model::EventId;
use serde_json::value::RawValue;

use super::auth::Caller;
use super::show;
use crate::ApiError;
use crate::query::Query;

pub(crate) async fn list(
    caller: Caller,
    engine: web::Data<EngineHandle>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let account = caller.needs("account:read")?;
    let mut query = Query::new(request.query_string())?;
    let page = query.page::<EventId>();
    query.finish()?;
    let events = engine.events(account, page.limit, page.starting_after).await?;
    let shown =
        |event: &StoredEvent| RawValue::from_string(event.body.clone()).map_err(|_| ApiError::Internal);
    show::list(&events, shown, |event| event.id.to_string())
}
