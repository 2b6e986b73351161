//! `/v1/integrations/stripe`: what Stripe tells of subscriptions and payouts.

use actix_web::{HttpRequest, HttpResponse, web};
use engine::{EngineHandle, Outcome};
use serde::Serialize;

use crate::ApiError;
use crate::body;

/// What Stripe is answered: that it need not tell it again.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Received {
    received: bool,
    /// What became of it: `applied`, `repeated`, `older`, `nobody` (no account is this customer yet) or `ignored`.
    outcome: &'static str,
}

/// Receive an event from Stripe
///
/// The endpoint to enter at Stripe, for `customer.subscription.*` and, of connected accounts, `payout.paid`,
/// `payout.failed` and `payout.canceled`; others are answered and ignored. `Stripe-Signature` is verified against the
/// configured `stripe.webhook_secret`; without that there is nothing here. It is durable when it is answered.
#[utoipa::path(post, path = "/v1/integrations/stripe", tag = "Signals", security(()),
    params(("Stripe-Signature" = String, Header, description = "`t=` and `v1=`, as Stripe makes it.")),
    request_body(content = serde_json::Value, description = "An event of Stripe's."),
    responses(
        (status = 200, description = "It is stored.", body = Received),
        (status = 404, description = "Stripe is not configured here."),
    ))]
pub(crate) async fn receive(
    engine: web::Data<EngineHandle>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let body = body::bytes(&request, payload).await?;
    let header = request.headers().get("stripe-signature").and_then(|value| value.to_str().ok());
    let outcome = engine.stripe_event(header.unwrap_or_default(), &body).await?;
    let outcome = outcome.ok_or(ApiError::NotFound("integration: Stripe is not configured"))?;
    let outcome = match outcome {
        Outcome::Applied => "applied",
        Outcome::Repeated => "repeated",
        Outcome::Older => "older",
        Outcome::Nobody => "nobody",
        Outcome::Ignored => "ignored",
    };
    Ok(HttpResponse::Ok().json(Received { received: true, outcome }))
}
