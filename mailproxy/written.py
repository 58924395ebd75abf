"""The full write that stores again what is stored: where a change begins. Secrets stay as they are."""

import json

from mailproxy.records import AccountView, AccountWrite, Tenant, TenantWrite


def tenant(stored: Tenant) -> TenantWrite:
    limits = json.loads(stored.rate_limits or "{}")
    return TenantWrite(
        id=stored.id,
        name=stored.name,
        client_base_url=stored.client_base_url,
        client_sync_path=stored.client_sync_path,
        client_attachment_path=stored.client_attachment_path,
        rate_limits=stored.rate_limits,
        large_file_config=stored.large_file_config,
        report_strict=stored.report_strict,
        report_format=stored.report_format,
        active=stored.active,
        url_set_by_tenant=stored.url_set_by_tenant,
        suppress_bounces=stored.suppress_bounces,
        hourly_limit=limits.get("hourly"),
        daily_limit=limits.get("daily"),
        switch_on=False,
    )


def account(view: AccountView) -> AccountWrite:
    stored = view.account
    return AccountWrite(
        id=stored.id,
        host=stored.host,
        port=stored.port,
        user=stored.user,
        use_tls=stored.use_tls,
        tls_verify=stored.tls_verify,
        tls_ca=stored.tls_ca,
        ttl=int(stored.ttl),
        batch_size=stored.batch_size,
        max_retries=stored.max_retries,
        retry_delays=stored.retry_delays,
        on_unknown_outcome=stored.on_unknown_outcome,
        limit_per_minute=view.limit_per_minute,
        limit_per_hour=view.limit_per_hour,
        limit_per_day=view.limit_per_day,
        limit_behavior=stored.limit_behavior,
        host_set_by_tenant=stored.host_set_by_tenant,
        is_pec_account=stored.is_pec_account,
        pec_address=stored.pec_address,
        imap_host=stored.imap_host,
        imap_port=stored.imap_port,
        imap_user=stored.imap_user,
        imap_folder=stored.imap_folder,
        imap_ssl=stored.imap_ssl,
        imap_host_set_by_tenant=stored.imap_host_set_by_tenant,
    )
