//! Everything under `/v1`: a key for each request, a limit for each key, and the paths.

mod account;
mod auth;
mod bot_list;
mod bots;
mod candles;
mod csv;
mod events;
mod exchanges;
mod hooks;
mod many;
mod markets;
mod once;
mod portfolio;
mod preview;
mod profits;
mod show;
mod stream;
mod stripe;
mod trades;
mod unsettable;
mod webhooks;

use actix_web::middleware::from_fn;
use actix_web::web;

pub(crate) use auth::{Caller, Door};
pub(crate) use csv::Exports;
pub(crate) use once::UnderWay;
pub(crate) use stream::Closing;

use crate::openapi::{self, Operation, page};
use crate::{ApiError, server};
use webhooks::deliveries;

/// Every operation there is: each handler once. Its annotation says where it is found and what its caller needs.
pub(crate) fn operations() -> Vec<Operation> {
    openapi::operations![
        bot_list::list,
        many::start,
        many::stop,
        many::panic,
        bots::create,
        bots::clone,
        preview::preview,
        bots::get,
        bots::patch,
        bots::put,
        bots::delete,
        bots::start,
        bots::stop,
        trades::of_bot,
        portfolio::get,
        portfolio::history,
        candles::get,
        markets::list,
        profits::list,
        trades::list,
        trades::get,
        trades::close,
        trades::add_funds,
        account::get,
        account::subscription,
        exchanges::list,
        exchanges::create,
        exchanges::delete,
        webhooks::list,
        webhooks::create,
        webhooks::get,
        webhooks::patch,
        webhooks::delete,
        webhooks::rotate,
        deliveries::test,
        deliveries::replay_since,
        deliveries::list,
        deliveries::get,
        deliveries::replay,
        events::list,
        hooks::create,
        hooks::get,
        hooks::rotate,
        hooks::delete,
        hooks::list,
        hooks::receive,
        stripe::receive,
        stream::follow,
        openapi::json,
        page::page,
        server::healthz,
        server::readyz,
    ]
}

/// The paths of those operations. What asks for a key lies behind the gate, and so does every path under `/v1` that
/// nothing knows.
pub(crate) fn routes(app: &mut web::ServiceConfig) {
    app.configure(openapi::assets).configure(openapi::unkeyed).service(
        web::scope("/v1")
            .wrap(from_fn(once::gate))
            .wrap(from_fn(auth::gate))
            .configure(openapi::keyed)
            .default_service(web::to(|| async { Err::<String, _>(ApiError::NoRoute) })),
    );
}
