use std::sync::Arc;

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use axum::{Router, middleware};
use http::StatusCode;

use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::http::guard::{Guard, guard};
use crate::http::request_id::{RequestIds, identify};
use crate::inside::keep_door;
use crate::limits::{Limiter, limit};
use crate::machines::{
    create, destroy, exec, exec_stream, lease, lifecycle, list, memory, metadata, observe, update,
    wait,
};
use crate::{
    addresses, app_expiry, apps, autoscale, budgets, builds, certificates, event_log, fleet,
    images, invitations, logs, members, network_policies, oidc, orgs, platform, private, registry,
    releases, replay_sources, secrets, ssh, status, tokens, volumes, wireguard,
};

/// Every path of the API.
pub(crate) fn router(cloud: Arc<Cloud>, limiter: Arc<Limiter>) -> Router {
    let ids = RequestIds {
        clock: cloud.clock.clone(),
        entropy: cloud.entropy.clone(),
    };
    Router::new()
        .nest("/v1/apps/{app}/machines/{machine}", machine())
        .route(
            "/v1/apps/{app}/machines",
            get(list::list).post(create::create),
        )
        .nest("/v1/apps/{app}/volumes/{volume}", volume())
        .route(
            "/v1/apps/{app}/volumes",
            get(volumes::list).post(volumes::create),
        )
        .route("/v1/apps", get(apps::list).post(apps::create))
        .route(
            "/v1/apps/{app}/ip_assignments",
            get(addresses::list).post(addresses::allocate),
        )
        .route(
            "/v1/apps/{app}/ip_assignments/{ip}",
            delete(addresses::release),
        )
        .route(
            "/v1/apps/{app}/network_policies",
            get(network_policies::list).post(network_policies::put),
        )
        .route(
            "/v1/apps/{app}/network_policies/",
            get(network_policies::list).post(network_policies::put),
        )
        .route(
            "/v1/apps/{app}/network_policies/{policy}",
            get(network_policies::show).delete(network_policies::delete),
        )
        .route("/v1/apps/{app}", get(apps::show).delete(apps::delete))
        .route("/v1/apps/{app}/ttl", post(app_expiry::set))
        .route("/v1/apps/{app}/deploy_token", post(tokens::create_deploy))
        .route("/v1/apps/{app}/builds", get(builds::start))
        .nest("/v1/apps/{app}/releases", release())
        .route("/v1/apps/{app}/scale/count", post(releases::scale_count))
        .route(
            "/v1/apps/{app}/autoscale",
            get(autoscale::show)
                .put(autoscale::set)
                .delete(autoscale::remove),
        )
        .route("/v1/apps/{app}/move", post(releases::move_app))
        .route("/v1/apps/{app}/scale/advice", get(releases::scale_advice))
        .route("/v1/apps/{app}/scale/vm", post(releases::scale_vm))
        .route(
            "/v1/apps/{app}/scale/concurrency",
            post(releases::scale_concurrency),
        )
        .route(
            "/v1/apps/{app}/secrets",
            get(secrets::list).post(secrets::change),
        )
        .route(
            "/v1/apps/{app}/secrets/{name}",
            get(secrets::show)
                .post(secrets::set_one)
                .delete(secrets::remove),
        )
        .nest("/v1/apps/{app}/certificates", certificate())
        .route(
            "/v1/authority/root.pem",
            get(certificates::root_certificate),
        )
        .route("/v1/orgs", get(orgs::list).post(orgs::create))
        .route("/v1/orgs/{slug}", get(orgs::show).delete(orgs::delete))
        .route(
            "/v1/orgs/{slug}/budget",
            get(budgets::show).put(budgets::set),
        )
        .route(
            "/v1/orgs/{slug}/members/{email}",
            put(members::set_role).delete(members::remove),
        )
        .route(
            "/v1/orgs/{slug}/invitations",
            get(invitations::list).post(invitations::create),
        )
        .route(
            "/v1/orgs/{slug}/invitations/{email}",
            delete(invitations::remove),
        )
        .route("/v1/invitations/accept", post(invitations::accept))
        .route(
            "/v1/orgs/{slug}/tokens",
            get(tokens::list).post(tokens::create),
        )
        .route("/v1/orgs/{slug}/audit", get(event_log::audit))
        .route("/v1/orgs/{slug}/machines", get(list::of_org))
        .route("/v1/orgs/{slug}/volumes", get(volumes::of_org))
        .route(
            "/v1/orgs/{slug}/wireguard_peers",
            get(wireguard::list).post(wireguard::create),
        )
        .route(
            "/v1/orgs/{slug}/wireguard_peers/{name}",
            get(wireguard::show).delete(wireguard::remove),
        )
        .route(
            "/v1/orgs/{slug}/wireguard_tokens",
            get(wireguard::tokens::list).post(wireguard::tokens::create),
        )
        .route(
            "/v1/orgs/{slug}/wireguard_tokens/{name}",
            delete(wireguard::tokens::remove),
        )
        .route("/api/v1/wire_guard_peers", post(wireguard::start))
        .route("/api/v1/wire_guard_peers/{name}", put(wireguard::update))
        .route("/v1/orgs/{slug}/connect", get(private::connect))
        .route("/v1/orgs/{slug}/dns", post(private::dns))
        .route("/v1/orgs/{slug}/ping", post(private::ping))
        .route("/v1/orgs/{slug}/replay_sources", get(replay_sources::list))
        .route(
            "/v1/orgs/{slug}/replay_sources/{source}",
            put(replay_sources::add).delete(replay_sources::remove),
        )
        .route("/v1/orgs/{slug}/ssh/certificates", post(ssh::issue))
        .route("/v1/orgs/{slug}/ssh/log", get(ssh::log))
        .route("/v1/platform/regions", get(platform::regions))
        .route("/v1/platform/vm_sizes", get(platform::vm_sizes))
        .route("/v1/platform/placements", post(platform::placements))
        .route(
            "/v1/tokens",
            get(tokens::list_personal).post(tokens::create_personal),
        )
        .route("/v1/tokens/current", get(tokens::current))
        .route("/v1/tokens/{token}", delete(tokens::revoke))
        .route("/v1/tokens/oidc", post(oidc::create))
        .route("/v1/orgs/{slug}/oidc_keys", post(oidc::rotate))
        .route(
            "/oidc/{slug}/.well-known/openid-configuration",
            get(oidc::discovery),
        )
        .route("/oidc/{slug}/.well-known/jwks", get(oidc::keys))
        .route("/v1/events", get(event_log::read))
        .route("/v1/images", get(images::list).post(images::import))
        .route("/v1/images/show", get(images::show))
        .route("/v1/images/pull", post(images::pull))
        .route("/v1/images/pulls", get(images::pulls))
        .route("/v1/images/prune", post(images::prune))
        .nest("/v1/hosts", hosts())
        .route("/v1/registry", get(registry::show))
        .route("/v1/status", get(status::status))
        .route("/healthz", get(status::health))
        .route("/api/v1/apps/{app}/logs", get(logs::page))
        .route("/api/v1/organizations", get(orgs::list))
        .route("/api/v1/organizations/{slug}", get(orgs::show_wrapped))
        .fallback(unknown_path)
        .method_not_allowed_fallback(unknown_method)
        .with_state(cloud.clone())
        .layer(middleware::from_fn_with_state(cloud, keep_door))
        .layer(middleware::from_fn_with_state(limiter, limit))
        .layer(middleware::from_fn_with_state(Guard::new(), guard))
        .layer(middleware::from_fn_with_state(ids, identify))
}

fn hosts() -> Router<Arc<Cloud>> {
    Router::new()
        .route("/", get(fleet::list))
        .route("/tokens", post(fleet::token))
        .route("/{host}", get(fleet::show).delete(fleet::remove))
        .route("/{host}/cordon", post(fleet::cordon))
        .route("/{host}/uncordon", post(fleet::end_drain))
        .route(
            "/{host}/drain",
            get(fleet::show_drain)
                .post(fleet::begin_drain)
                .delete(fleet::end_drain),
        )
}

fn release() -> Router<Arc<Cloud>> {
    Router::new()
        .route("/", get(releases::list).post(releases::create))
        .route("/rollback", post(releases::rollback))
        .route("/{version}", get(releases::show))
        .route("/{version}/cancel", post(releases::cancel))
}

fn certificate() -> Router<Arc<Cloud>> {
    Router::new()
        .route("/", get(certificates::list))
        .route("/acme", post(certificates::add))
        .route("/custom", post(certificates::import))
        .route(
            "/{hostname}",
            get(certificates::show).delete(certificates::remove),
        )
        .route("/{hostname}/check", post(certificates::check))
        .route("/{hostname}/acme", delete(certificates::remove_acme))
        .route("/{hostname}/custom", delete(certificates::remove_custom))
}

fn machine() -> Router<Arc<Cloud>> {
    Router::new()
        .route(
            "/",
            get(list::show)
                .post(update::update)
                .delete(destroy::destroy),
        )
        .route("/start", post(lifecycle::start))
        .route("/stop", post(lifecycle::stop))
        .route("/restart", post(lifecycle::restart))
        .route("/suspend", post(lifecycle::suspend))
        .route("/signal", post(lifecycle::signal_machine))
        .route("/cordon", post(lifecycle::cordon))
        .route("/uncordon", post(lifecycle::uncordon))
        .route("/exec", post(exec::exec))
        .route("/exec/stream", get(exec_stream::exec_stream))
        .route("/ps", get(observe::processes))
        .route("/wait", get(wait::wait))
        .route("/events", get(observe::events))
        .route("/versions", get(observe::versions))
        .route("/memory", get(memory::show).put(memory::limit))
        .route("/memory/reclaim", post(memory::reclaim))
        .route("/schedule", get(observe::schedule))
        .route(
            "/lease",
            get(lease::show).post(lease::take).delete(lease::release),
        )
        .route(
            "/metadata",
            get(metadata::show)
                .put(metadata::replace)
                .patch(metadata::patch),
        )
        .route(
            "/metadata/{key}",
            delete(metadata::remove_key)
                .get(metadata::show_key)
                .post(metadata::set_key),
        )
}

fn volume() -> Router<Arc<Cloud>> {
    Router::new()
        .route(
            "/",
            get(volumes::show)
                .put(volumes::update)
                .delete(volumes::delete),
        )
        .route("/extend", put(volumes::extend))
        .route("/restore", post(volumes::restore))
        .route(
            "/snapshots",
            get(volumes::snapshots).post(volumes::snapshot),
        )
}

async fn unknown_path(request: Request) -> Response {
    let path: String = request.uri().path().chars().take(200).collect();
    ApiError::not_found(format!("there is nothing at {path}")).into_response()
}

async fn unknown_method(request: Request) -> Response {
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        format!("{} is not possible here", request.method()),
    )
    .into_response()
}
