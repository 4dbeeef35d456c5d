//! The API and the endpoints, through the real router, the real executor and a
//! real database: every test on a fresh SQLite and on a fresh PostgreSQL one.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

#[path = "../support/app.rs"]
mod app;
#[path = "../support/compiled_guest.rs"]
mod compiled_guest;
#[path = "../support/database.rs"]
mod database;
#[path = "../support/dns.rs"]
mod dns;
#[path = "../support/gate.rs"]
mod gate;
#[path = "../support/stand_in.rs"]
mod stand_in;

mod access;
mod accounts;
mod api_keys;
mod apps;
mod arrays;
mod audit;
mod auth;
mod backup;
mod bodies;
mod body_budget;
mod browser;
mod cancelling;
mod cases;
mod credentials;
mod dashboard;
mod dead_letters;
mod delivery;
mod depth;
mod documents;
mod domain_claims;
mod domains;
mod endpoints;
mod entries;
mod escalation;
mod events;
mod examples;
mod execute;
mod executions;
mod fairness;
mod figures;
mod forms;
mod fuel;
mod health;
mod hostile;
mod idempotency;
mod ingress;
mod instance;
mod limits;
mod lists;
mod lost_rights;
mod metrics;
mod model;
mod nodes;
mod outbound;
mod payloads;
mod plain;
mod rates;
mod readers;
mod registrants;
mod responses;
mod retention;
mod route_auth;
mod routes;
mod schedules;
mod scripts;
mod search;
mod secrets;
mod serialisable;
mod services;
mod sessions;
mod shared_host;
mod sign_in;
mod storage;
mod stored_policies;
mod triggers;
mod unchanged;
mod upgrades;
mod values;
mod versions;
