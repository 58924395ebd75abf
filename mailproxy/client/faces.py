"""The two clients: the same calls, which return their results here and are awaited there."""

from typing import Generic, Self, TypeVar

from mailproxy.client import accounts, dead_letters, instance, messages, service, suppressions, tenants
from mailproxy.client.drivers import AsyncConnection, BlockingConnection
from mailproxy.client.methods import Awaited, Blocking

C = TypeVar("C")


class Group(Generic[C]):
    """The calls about one kind of thing."""

    def __init__(self, connection: C) -> None:
        self.connection = connection


class Messages(Group[BlockingConnection]):
    add = Blocking(messages.add)
    page = Blocking(messages.page)
    list = Blocking(messages.everything)
    pending = Blocking(messages.pending)
    sent = Blocking(messages.sent)
    errors = Blocking(messages.errors)
    get = Blocking(messages.get)
    events = Blocking(messages.events)
    explain = Blocking(messages.explain)
    receipts = Blocking(messages.receipts)
    receipt = Blocking(messages.receipt)
    cancel = Blocking(messages.cancel)
    resolve = Blocking(messages.resolve)
    delete = Blocking(messages.delete)
    cleanup = Blocking(messages.cleanup)


class Accounts(Group[BlockingConnection]):
    list = Blocking(accounts.everything)
    get = Blocking(accounts.get)
    add = Blocking(accounts.add)
    update = Blocking(accounts.update)
    delete = Blocking(accounts.delete)
    reset = Blocking(accounts.reset)


class Tenants(Group[BlockingConnection]):
    list = Blocking(tenants.everything)
    get = Blocking(tenants.get)
    add = Blocking(tenants.add)
    update = Blocking(tenants.update)
    delete = Blocking(tenants.delete)
    new_key = Blocking(tenants.new_key)
    revoke_keys = Blocking(tenants.revoke_keys)
    new_webhook_secret = Blocking(tenants.new_webhook_secret)
    end_webhook_secrets = Blocking(tenants.end_webhook_secrets)
    sync_status = Blocking(tenants.sync_status)


class DeadLetters(Group[BlockingConnection]):
    page = Blocking(dead_letters.page)
    list = Blocking(dead_letters.everything)
    replay = Blocking(dead_letters.replay)
    discard = Blocking(dead_letters.discard)


class Suppressions(Group[BlockingConnection]):
    page = Blocking(suppressions.page)
    list = Blocking(suppressions.everything)
    add = Blocking(suppressions.add)
    add_many = Blocking(suppressions.add_many)
    remove = Blocking(suppressions.remove)


class Instance(Group[BlockingConnection]):
    get = Blocking(instance.get)
    rename = Blocking(instance.rename)
    bounce = Blocking(instance.bounce)
    update_bounce = Blocking(instance.update_bounce)
    reload_bounce = Blocking(instance.reload_bounce)
    quarantine = Blocking(instance.quarantine)
    commands = Blocking(instance.commands)
    commands_page = Blocking(instance.commands_page)
    export_commands = Blocking(instance.export_commands)


class MailProxyClient(BlockingConnection):
    """The API of a server at `url`: each call returns its result, and raises ClientError.

    `token` is the admin's or a tenant's; with the admin's, `tenant_id` is whom calls are about that name nobody.
    Calls that fail for a moment are repeated as `patience` says, if that can do no harm.
    """

    health = Blocking(service.health)
    status = Blocking(service.status)
    stats = Blocking(service.stats)
    run_now = Blocking(service.run_now)
    suspend = Blocking(service.suspend)
    activate = Blocking(service.activate)
    wait_until_sent = Blocking(messages.wait_until_sent)
    call = Blocking(service.call)

    @property
    def connection(self) -> Self:
        return self

    @property
    def messages(self) -> Messages:
        return Messages(self)

    @property
    def accounts(self) -> Accounts:
        return Accounts(self)

    @property
    def tenants(self) -> Tenants:
        return Tenants(self)

    @property
    def dead_letters(self) -> DeadLetters:
        return DeadLetters(self)

    @property
    def suppressions(self) -> Suppressions:
        return Suppressions(self)

    @property
    def instance(self) -> Instance:
        return Instance(self)


class AsyncMessages(Group[AsyncConnection]):
    add = Awaited(messages.add)
    page = Awaited(messages.page)
    list = Awaited(messages.everything)
    pending = Awaited(messages.pending)
    sent = Awaited(messages.sent)
    errors = Awaited(messages.errors)
    get = Awaited(messages.get)
    events = Awaited(messages.events)
    explain = Awaited(messages.explain)
    receipts = Awaited(messages.receipts)
    receipt = Awaited(messages.receipt)
    cancel = Awaited(messages.cancel)
    resolve = Awaited(messages.resolve)
    delete = Awaited(messages.delete)
    cleanup = Awaited(messages.cleanup)


class AsyncAccounts(Group[AsyncConnection]):
    list = Awaited(accounts.everything)
    get = Awaited(accounts.get)
    add = Awaited(accounts.add)
    update = Awaited(accounts.update)
    delete = Awaited(accounts.delete)
    reset = Awaited(accounts.reset)


class AsyncTenants(Group[AsyncConnection]):
    list = Awaited(tenants.everything)
    get = Awaited(tenants.get)
    add = Awaited(tenants.add)
    update = Awaited(tenants.update)
    delete = Awaited(tenants.delete)
    new_key = Awaited(tenants.new_key)
    revoke_keys = Awaited(tenants.revoke_keys)
    new_webhook_secret = Awaited(tenants.new_webhook_secret)
    end_webhook_secrets = Awaited(tenants.end_webhook_secrets)
    sync_status = Awaited(tenants.sync_status)


class AsyncDeadLetters(Group[AsyncConnection]):
    page = Awaited(dead_letters.page)
    list = Awaited(dead_letters.everything)
    replay = Awaited(dead_letters.replay)
    discard = Awaited(dead_letters.discard)


class AsyncSuppressions(Group[AsyncConnection]):
    page = Awaited(suppressions.page)
    list = Awaited(suppressions.everything)
    add = Awaited(suppressions.add)
    add_many = Awaited(suppressions.add_many)
    remove = Awaited(suppressions.remove)


class AsyncInstance(Group[AsyncConnection]):
    get = Awaited(instance.get)
    rename = Awaited(instance.rename)
    bounce = Awaited(instance.bounce)
    update_bounce = Awaited(instance.update_bounce)
    reload_bounce = Awaited(instance.reload_bounce)
    quarantine = Awaited(instance.quarantine)
    commands = Awaited(instance.commands)
    commands_page = Awaited(instance.commands_page)
    export_commands = Awaited(instance.export_commands)


class AsyncMailProxyClient(AsyncConnection):
    """The API of a server at `url`: each call is awaited, and raises ClientError.

    `token` is the admin's or a tenant's; with the admin's, `tenant_id` is whom calls are about that name nobody.
    Calls that fail for a moment are repeated as `patience` says, if that can do no harm.
    """

    health = Awaited(service.health)
    status = Awaited(service.status)
    stats = Awaited(service.stats)
    run_now = Awaited(service.run_now)
    suspend = Awaited(service.suspend)
    activate = Awaited(service.activate)
    wait_until_sent = Awaited(messages.wait_until_sent)
    call = Awaited(service.call)

    @property
    def connection(self) -> Self:
        return self

    @property
    def messages(self) -> AsyncMessages:
        return AsyncMessages(self)

    @property
    def accounts(self) -> AsyncAccounts:
        return AsyncAccounts(self)

    @property
    def tenants(self) -> AsyncTenants:
        return AsyncTenants(self)

    @property
    def dead_letters(self) -> AsyncDeadLetters:
        return AsyncDeadLetters(self)

    @property
    def suppressions(self) -> AsyncSuppressions:
        return AsyncSuppressions(self)

    @property
    def instance(self) -> AsyncInstance:
        return AsyncInstance(self)
