//! No key without a test: the schema is walked, and each key of it must stand here with the end-to-end test that
//! shows what it does. A new key is one line.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use pingora_city::config::schema;
use pingora_city::middleware::Registry;
use serde_json::Value;

/// Each key (`[]` is an item of a list, `*` a name that the user gives), and the file and function of its test.
const TESTED: &[(&str, &str)] = &[
    ("services", "services::each_service_has_an_address_and_servers_of_its_own"),
    ("services[].name", "services::explain_and_the_table_know_the_listeners"),
    ("services[].bind_address", "services::each_service_has_an_address_and_servers_of_its_own"),
    ("services[].upstreams", "services::each_service_has_an_address_and_servers_of_its_own"),
    ("services[].tls", "services::a_service_believes_the_servers_that_its_authority_knows"),
    ("services[].sni", "services::a_service_believes_the_servers_that_its_authority_knows"),
    ("services[].health_check", "services::a_service_asks_its_servers_whether_they_take_connections"),
    (
        "services[].health_check.timeout_ms",
        "services::a_service_asks_its_servers_whether_they_take_connections",
    ),
    (
        "services[].health_check.frequency_secs",
        "services::a_service_asks_its_servers_whether_they_take_connections",
    ),
    ("server.client_bind_to_ipv6", "process::connections_begin_at_the_addresses_that_they_are_bound_to"),
    ("server.grace_period_seconds", "process::requests_have_the_grace_period_and_no_more"),
    ("server.graceful_shutdown_timeout_seconds", "process::requests_have_the_grace_period_and_no_more"),
    ("server.group", "process::in_the_background_it_becomes_the_user_that_it_is_told"),
    ("server.user", "process::in_the_background_it_becomes_the_user_that_it_is_told"),
    ("upstreams.*.timeouts.write", "process::a_server_that_takes_no_more_of_a_request_is_left"),
    ("server.ca_file", "services::a_service_believes_the_servers_that_its_authority_knows"),
    ("routes[].match.listeners", "services::a_route_can_be_for_one_listener"),
    ("routes[].match.path_pattern", "routing::the_most_specific_route_gets_a_request"),
    ("listeners", "routing::requests_reach_the_upstream_of_the_most_specific_route"),
    ("listeners[].address", "routing::requests_reach_the_upstream_of_the_most_specific_route"),
    ("listeners[].allow", "listeners::each_listener_has_its_guests"),
    ("listeners[].body_timeout", "listeners::a_body_has_its_time_too"),
    ("listeners[].deny", "listeners::each_listener_has_its_guests"),
    ("listeners[].h2c", "listeners::http2_without_tls_where_it_is_wanted"),
    ("listeners[].header_timeout", "listeners::a_head_has_its_time_on_every_request_of_a_connection"),
    ("listeners[].idle_timeout", "listeners::a_connection_waits_for_a_request_as_long_as_it_may"),
    ("listeners[].max_header_bytes", "listeners::a_head_has_its_size"),
    ("listeners[].mode", "listeners::a_socket_is_for_those_whom_its_mode_lets_in"),
    ("listeners[].max_requests_per_connection", "listeners::a_connection_has_its_number_of_requests"),
    ("listeners[].tls", "listeners::what_cannot_be_presented_is_said_before_anything_starts"),
    ("listeners[].tls.certificates", "listeners::what_cannot_be_presented_is_said_before_anything_starts"),
    (
        "listeners[].tls.certificates[].cert",
        "listeners::what_cannot_be_presented_is_said_before_anything_starts",
    ),
    (
        "listeners[].tls.certificates[].key",
        "listeners::what_cannot_be_presented_is_said_before_anything_starts",
    ),
    ("listeners[].tls.client_ca", "listeners::clients_prove_who_they_are_where_they_must"),
    ("listeners[].tls.h2", "listeners::versions_and_protocols_are_as_they_are_set"),
    ("listeners[].tls.min_version", "listeners::versions_and_protocols_are_as_they_are_set"),
    ("middlewares", "routing::policies_apply_where_they_are_named_and_nowhere_else"),
    ("middlewares.*.response_headers", "routing::policies_apply_where_they_are_named_and_nowhere_else"),
    ("middlewares.*.response_headers.add", "routing::the_upstream_sees_the_target_that_the_route_makes"),
    (
        "middlewares.*.response_headers.remove",
        "routing::policies_apply_where_they_are_named_and_nowhere_else",
    ),
    ("middlewares.*.response_headers.set", "routing::policies_apply_where_they_are_named_and_nowhere_else"),
    ("routes", "command_line::explain_agrees_with_what_requests_do"),
    ("routes[].match", "command_line::explain_agrees_with_what_requests_do"),
    ("routes[].match.headers", "command_line::explain_agrees_with_what_requests_do"),
    ("routes[].match.hosts", "command_line::explain_agrees_with_what_requests_do"),
    ("routes[].match.methods", "command_line::explain_agrees_with_what_requests_do"),
    ("routes[].match.path", "command_line::explain_agrees_with_what_requests_do"),
    ("routes[].match.path_prefix", "command_line::explain_agrees_with_what_requests_do"),
    ("routes[].match.path_regex", "command_line::explain_agrees_with_what_requests_do"),
    ("routes[].match.query", "command_line::explain_agrees_with_what_requests_do"),
    ("routes[].middlewares", "command_line::explain_agrees_with_what_requests_do"),
    ("routes[].name", "command_line::explain_agrees_with_what_requests_do"),
    ("routes[].redirect", "routing::routes_can_answer_by_themselves"),
    ("routes[].redirect.host", "routing::routes_can_answer_by_themselves"),
    ("routes[].redirect.path", "routing::routes_can_answer_by_themselves"),
    ("routes[].redirect.scheme", "routing::routes_can_answer_by_themselves"),
    ("routes[].redirect.status", "routing::routes_can_answer_by_themselves"),
    ("routes[].respond", "command_line::explain_agrees_with_what_requests_do"),
    ("routes[].respond.body", "command_line::explain_agrees_with_what_requests_do"),
    ("routes[].respond.content_type", "routing::routes_can_answer_by_themselves"),
    ("routes[].respond.status", "routing::routes_can_answer_by_themselves"),
    ("routes[].rewrite", "routing::the_upstream_sees_the_target_that_the_route_makes"),
    ("routes[].rewrite.path", "routing::the_upstream_sees_the_target_that_the_route_makes"),
    ("routes[].rewrite.query", "routing::the_upstream_sees_the_target_that_the_route_makes"),
    ("routes[].rewrite.query.add", "routing::the_upstream_sees_the_target_that_the_route_makes"),
    ("routes[].rewrite.query.remove", "routing::the_upstream_sees_the_target_that_the_route_makes"),
    ("routes[].strip_prefix", "routing::the_upstream_sees_the_target_that_the_route_makes"),
    ("routes[].timeout_secs", "upstreams::routes_without_a_limit_have_that_of_the_server"),
    ("routes[].upstream", "command_line::explain_agrees_with_what_requests_do"),
    ("server", "command_line::settings_of_the_process_take_effect"),
    ("server.client_bind_to_ipv4", "command_line::settings_of_the_process_take_effect"),
    ("server.connection_pool", "upstreams::making_a_connection_is_limited_in_time"),
    ("server.connection_pool.connect_timeout_secs", "upstreams::making_a_connection_is_limited_in_time"),
    (
        "server.connection_pool.idle_timeout_secs",
        "upstreams::connections_are_kept_for_as_long_as_they_may_be_idle",
    ),
    ("server.connection_pool.max_idle", "upstreams::connections_are_kept_for_as_long_as_they_may_be_idle"),
    ("server.daemon", "command_line::a_gateway_in_the_background_writes_its_number"),
    ("server.error_log", "command_line::a_gateway_in_the_background_writes_its_number"),
    ("server.listener_tasks_per_fd", "command_line::settings_of_the_process_take_effect"),
    ("server.max_retries", "command_line::settings_of_the_process_take_effect"),
    ("server.pid_file", "command_line::a_gateway_in_the_background_writes_its_number"),
    ("server.threads", "command_line::settings_of_the_process_take_effect"),
    ("server.trusted_proxies", "forwarding::a_stranger_is_not_believed"),
    ("server.upgrade_sock", "command_line::a_successor_takes_over_the_listeners"),
    ("server.upstream_keepalive_pool_size", "command_line::settings_of_the_process_take_effect"),
    ("server.upstream_timeout_secs", "upstreams::routes_without_a_limit_have_that_of_the_server"),
    ("server.work_stealing", "command_line::settings_of_the_process_take_effect"),
    ("upstreams", "command_line::explain_agrees_with_what_requests_do"),
    ("upstreams.*.balance", "upstreams::each_server_has_its_turn"),
    ("upstreams.*.health_check", "upstreams_health::a_grpc_server_is_as_well_as_its_health_service_says"),
    (
        "upstreams.*.health_check.grpc",
        "upstreams_health::a_grpc_server_is_as_well_as_its_health_service_says",
    ),
    (
        "upstreams.*.health_check.grpc.service",
        "upstreams_health::a_grpc_server_is_as_well_as_its_health_service_says",
    ),
    ("upstreams.*.health_check.healthy", "upstreams_health::it_takes_as_many_checks_as_the_thresholds_say"),
    (
        "upstreams.*.health_check.http",
        "upstreams_health::who_fails_its_check_gets_no_request_until_it_passes",
    ),
    ("upstreams.*.health_check.http.expect_body", "upstreams_health::a_check_expects_what_it_was_told_to"),
    ("upstreams.*.health_check.http.expect_status", "upstreams_health::a_check_expects_what_it_was_told_to"),
    ("upstreams.*.health_check.http.host", "upstreams_health::a_check_expects_what_it_was_told_to"),
    (
        "upstreams.*.health_check.http.path",
        "upstreams_health::who_fails_its_check_gets_no_request_until_it_passes",
    ),
    (
        "upstreams.*.health_check.interval",
        "upstreams_health::a_grpc_server_is_as_well_as_its_health_service_says",
    ),
    ("upstreams.*.health_check.tcp", "upstreams_health::who_takes_no_connection_is_not_well"),
    (
        "upstreams.*.health_check.timeout",
        "upstreams_health::a_grpc_server_is_as_well_as_its_health_service_says",
    ),
    ("upstreams.*.health_check.unhealthy", "upstreams_health::it_takes_as_many_checks_as_the_thresholds_say"),
    ("upstreams.*.servers", "command_line::explain_agrees_with_what_requests_do"),
    ("upstreams.*.servers[].address", "command_line::explain_agrees_with_what_requests_do"),
    ("upstreams.*.servers[].backup", "upstreams::a_backup_is_asked_only_when_nobody_else_can_be"),
    ("upstreams.*.servers[].weight", "upstreams::turns_are_shared_out_by_weight"),
    ("upstreams.*.timeouts", "upstreams::making_a_connection_is_limited_in_time"),
    ("upstreams.*.timeouts.connect", "upstreams::making_a_connection_is_limited_in_time"),
    ("upstreams.*.timeouts.idle", "upstreams::connections_are_kept_for_as_long_as_they_may_be_idle"),
    ("upstreams.*.timeouts.read", "upstreams::the_time_between_two_pieces_is_limited"),
    ("routes[].websocket", "safety::a_connection_switches_to_websocket_where_its_route_allows_it"),
    ("log", "logging::a_request_is_a_line"),
    ("log.access", "logging::text_is_for_people_and_off_is_off"),
    ("log.format", "logging::a_request_is_a_line"),
    ("log.level", "logging::text_is_for_people_and_off_is_off"),
    ("middlewares.*.body_limit", "policies::bodies_are_as_large_as_they_may_be"),
    ("middlewares.*.body_limit.max_bytes", "policies::bodies_are_as_large_as_they_may_be"),
    ("middlewares.*.request_headers", "policies::request_headers_are_changed_where_it_is_said"),
    ("middlewares.*.request_headers.add", "policies::request_headers_are_changed_where_it_is_said"),
    ("middlewares.*.request_headers.remove", "policies::request_headers_are_changed_where_it_is_said"),
    ("middlewares.*.request_headers.set", "policies::request_headers_are_changed_where_it_is_said"),
    ("routes[].retry", "upstreams_retry::requests_are_sent_again_where_that_is_permitted"),
    (
        "routes[].retry.attempts",
        "upstreams_retry::a_server_that_is_alone_is_asked_as_often_as_the_attempts_say",
    ),
    ("routes[].retry.budget", "upstreams_retry::a_budget_limits_how_many_requests_are_sent_again"),
    ("routes[].retry.on", "upstreams_retry::requests_are_sent_again_where_that_is_permitted"),
    ("routes[].retry.only_idempotent", "upstreams_retry::requests_are_sent_again_where_that_is_permitted"),
    ("upstreams.*.balance.consistent", "upstreams_balance::the_same_key_has_the_same_server"),
    ("upstreams.*.balance.consistent.by", "upstreams_balance::the_same_key_has_the_same_server"),
    ("upstreams.*.balance.consistent.name", "upstreams_balance::the_same_key_has_the_same_server"),
    ("upstreams.*.balance.sticky", "upstreams_balance::a_client_comes_back_to_its_server"),
    ("upstreams.*.balance.sticky.cookie", "upstreams_balance::a_client_comes_back_to_its_server"),
    (
        "upstreams.*.balance.sticky.key",
        "upstreams_balance::gateways_with_one_key_understand_each_others_cookies",
    ),
    ("upstreams.*.circuit_breaker", "upstreams_retry::who_fails_too_often_gets_a_rest"),
    ("upstreams.*.circuit_breaker.consecutive_errors", "upstreams_retry::who_fails_too_often_gets_a_rest"),
    ("upstreams.*.circuit_breaker.open_for", "upstreams_retry::after_the_rest_one_request_decides"),
    ("upstreams.*.discovery", "upstreams_discovery::a_file_is_followed"),
    ("upstreams.*.discovery.dns", "upstreams_discovery::a_name_is_followed"),
    ("upstreams.*.discovery.dns.name", "upstreams_discovery::a_name_is_followed"),
    ("upstreams.*.discovery.dns.name_servers", "upstreams_discovery::a_name_is_followed"),
    ("upstreams.*.discovery.dns.port", "upstreams_discovery::a_name_is_followed"),
    ("upstreams.*.discovery.file", "upstreams_discovery::a_file_is_followed"),
    ("upstreams.*.discovery.file.path", "upstreams_discovery::a_file_is_followed"),
    ("upstreams.*.discovery.refresh", "upstreams_discovery::a_file_is_followed"),
    (
        "upstreams.*.discovery.srv",
        "upstreams_discovery::a_service_is_followed_with_its_ports_weights_and_priorities",
    ),
    (
        "upstreams.*.discovery.srv.name",
        "upstreams_discovery::a_service_is_followed_with_its_ports_weights_and_priorities",
    ),
    (
        "upstreams.*.discovery.srv.name_servers",
        "upstreams_discovery::a_service_is_followed_with_its_ports_weights_and_priorities",
    ),
    ("upstreams.*.protocol", "upstreams_tls::the_version_of_http_is_the_one_that_is_wanted"),
    ("upstreams.*.tls", "upstreams_tls::only_the_right_certificate_is_believed"),
    ("upstreams.*.tls.ca", "upstreams_tls::only_the_right_certificate_is_believed"),
    ("upstreams.*.tls.client_cert", "upstreams_tls::the_gateway_shows_its_own_certificate"),
    ("upstreams.*.tls.client_key", "upstreams_tls::the_gateway_shows_its_own_certificate"),
    ("upstreams.*.tls.sni", "upstreams_tls::only_the_right_certificate_is_believed"),
    ("upstreams.*.tls.verify", "upstreams_tls::only_the_right_certificate_is_believed"),
    ("upstreams.*.via", "upstreams_tls::a_forward_proxy_leads_to_the_servers"),
    ("upstreams.*.via.connect_proxy", "upstreams_tls::a_forward_proxy_leads_to_the_servers"),
];

fn walk(schema: &Value, rule: &Value, at: &str, keys: &mut BTreeSet<String>) {
    if let Some(target) = rule["$ref"].as_str() {
        let target = schema.pointer(target.trim_start_matches('#')).expect("it leads somewhere");
        walk(schema, target, at, keys);
    }
    for (key, rule) in rule["properties"].as_object().into_iter().flatten() {
        let key = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
        walk(schema, rule, &key, keys);
        keys.insert(key);
    }
    if rule["items"].is_object() {
        walk(schema, &rule["items"], &format!("{at}[]"), keys);
    }
    if rule["additionalProperties"].is_object() {
        walk(schema, &rule["additionalProperties"], &format!("{at}.*"), keys);
    }
    for choices in ["oneOf", "anyOf", "allOf"] {
        for rule in rule[choices].as_array().into_iter().flatten() {
            walk(schema, rule, at, keys);
        }
    }
}

#[test]
fn every_key_has_its_end_to_end_test() {
    let schema = schema(&Registry::default());
    let mut keys = BTreeSet::new();
    walk(&schema, &schema, "", &mut keys);
    assert!(
        keys.contains("routes[].match.path") && keys.contains("upstreams.*.servers[].address"),
        "{keys:?}"
    );

    let mut trouble = Vec::new();
    let listed: BTreeSet<&str> = TESTED.iter().map(|(key, _)| *key).collect();
    if listed.len() != TESTED.len() {
        trouble.push("a key is listed twice".to_string());
    }
    for key in &keys {
        if !listed.contains(&**key) {
            trouble.push(format!("{key}: no test. Write one, and add a line to TESTED"));
        }
    }
    for key in &listed {
        if !keys.contains(*key) {
            trouble.push(format!("{key}: the schema has no such key. Remove its line"));
        }
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/gateway");
    for (key, test) in TESTED {
        let (file, function) = test.split_once("::").expect("`file::function`");
        let text = fs::read_to_string(folder.join(file).with_extension("rs")).unwrap_or_default();
        let leaf = key.rsplit('.').next().unwrap_or(key);
        if !text.contains(&format!("#[test]\nfn {function}(")) {
            trouble.push(format!("{key}: there is no test `{test}`"));
        } else if !text.contains(leaf) {
            trouble.push(format!("{key}: `{file}.rs` never says `{leaf}`"));
        }
    }
    assert!(trouble.is_empty(), "{}", trouble.join("\n"));
}
