//! `/v1/account`: what the caller's account is, may use and uses.

use std::net::IpAddr;

use actix_web::{HttpResponse, web};
use engine::EngineHandle;
use model::{AccountId, Period, PlanLimits, Subscription, SubscriptionStatus, Tier, Timestamp};
use serde::Serialize;

use super::auth::Caller;
use crate::ApiError;

/// An account.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Account {
    id: AccountId,
    name: String,
    /// The plan in force.
    plan: Tier,
    /// How the subscription stands.
    status: SubscriptionStatus,
    /// What the plan allows.
    limits: PlanLimits,
    /// What of it is used.
    usage: Usage,
    /// What is paid for now.
    period: Period,
    /// Whether the subscription ends with the period instead of going on.
    cancel_at_period_end: bool,
    /// The addresses that orders leave from: what to bind an exchange's API key to. Empty where the operator tells none.
    #[schema(value_type = Vec<String>, example = json!(["203.0.113.10"]))]
    egress_addresses: Vec<IpAddr>,
    created_at: Timestamp,
}

/// What of a plan's limits is used.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Usage {
    bots: u64,
    webhooks: u64,
}

/// Get the account
///
/// Whose key this is, what its plan allows, and how much of that is used.
#[utoipa::path(get, path = "/v1/account", tag = "Account", security(("api_key" = ["account:read"])),
    responses((status = 200, description = "The account.", body = Account)))]
pub(crate) async fn get(caller: Caller, engine: web::Data<EngineHandle>) -> Result<HttpResponse, ApiError> {
    let view = engine.account(caller.account).await?;
    let Subscription { plan, status, limits, period, cancel_at_period_end } = view.subscription;
    Ok(HttpResponse::Ok().json(Account {
        id: view.account.id,
        name: view.account.name,
        plan,
        status,
        limits,
        usage: Usage { bots: view.bots, webhooks: view.webhooks },
        period,
        cancel_at_period_end,
        egress_addresses: engine.egress_addresses().to_vec(),
        created_at: view.account.created_at,
    }))
}

/// Get the subscription
///
/// The plan in force, how it stands and what it allows. While the subscription is not in force (`unpaid`, `paused`,
/// `incomplete`, `canceled`) the plan is the lowest. A smaller plan stops nothing that runs: bots go on with their stops
/// and take profits, and beyond the plan none is made or started.
#[utoipa::path(get, path = "/v1/account/subscription", tag = "Account", security(("api_key" = ["account:read"])),
    responses((status = 200, description = "The subscription.", body = Subscription)))]
pub(crate) async fn subscription(
    caller: Caller,
    engine: web::Data<EngineHandle>,
) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Ok().json(engine.account(caller.account).await?.subscription))
}
