//! Everything under `/v1`: a key for each request, a limit for each key, and the paths.

mod auth;
mod bots;
mod events;
mod exchanges;
mod once;
mod preview;
mod show;
mod trades;
mod webhooks;

use actix_web::middleware::from_fn;
use actix_web::web;

pub(crate) use auth::Door;
pub(crate) use once::UnderWay;

use crate::ApiError;

/// Every path there is under `/v1`.
pub(crate) fn routes(app: &mut web::ServiceConfig) {
    app.service(
        web::scope("/v1")
            .wrap(from_fn(once::gate))
            .wrap(from_fn(auth::gate))
            .service(web::resource("/bots").get(bots::list).post(bots::create))
            .service(web::resource("/bots/preview").post(preview::preview))
            .service(
                web::resource("/bots/{id}")
                    .get(bots::get)
                    .patch(bots::patch)
                    .put(bots::put)
                    .delete(bots::delete),
            )
            .service(web::resource("/bots/{id}/start").post(bots::start))
            .service(web::resource("/bots/{id}/stop").post(bots::stop))
            .service(web::resource("/bots/{id}/trades").get(trades::of_bot))
            .service(web::resource("/trades").get(trades::list))
            .service(web::resource("/trades/{id}").get(trades::get))
            .service(web::resource("/trades/{id}/close").post(trades::close))
            .service(web::resource("/trades/{id}/add-funds").post(trades::add_funds))
            .service(web::resource("/exchanges").get(exchanges::list).post(exchanges::create))
            .service(web::resource("/exchanges/{id}").delete(exchanges::delete))
            .service(web::resource("/webhooks").get(webhooks::list).post(webhooks::create))
            .service(web::resource("/webhooks/{id}").get(webhooks::get).delete(webhooks::delete))
            .service(web::resource("/events").get(events::list))
            .default_service(web::to(|| async { Err::<String, _>(ApiError::NoRoute) })),
    );
}
