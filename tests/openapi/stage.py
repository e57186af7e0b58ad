"""What the document's examples stand for, made ready for each call, and who calls."""

import itertools

from server import Api

ALICE = "alice"
PEOPLE = (ALICE, "bob", "carol")
# Whose tokens nobody needs.
MALLORY = "mallory"
# The group of the people that `flare up` makes. It has to last: what would use it up gets a group of its own.
GROUP = "welcome"
# Begins the client ids of the document's examples, and those that were put in their place: schemathesis uses again what it saw.
EXAMPLE_IDS = ("order-", "stage-")
# Of several they are refused, which the document says in words only.
POSITIONS = ("before_seq", "after_seq", "around_seq", "from_time_ms", "page_token")
# Every other call of these is a backend's that acts for nobody.
BY_SYSTEM = {"getConversation", "getPresence", "history", "listDevices", "listMembers", "sendMessage", "sendMessages"}


class Stage:
    """`prepared` has the server's `url`, an API `key`, alice's `token`, and `leavers`: tokens, each of another user."""

    def __init__(self, prepared):
        self._key = prepared["key"]
        self._token = prepared["token"]
        self._leavers = itertools.cycle(prepared["leavers"])
        self._api = Api(prepared["url"], self._key)
        self._count = itertools.count(1)

    def place(self, case):
        """Puts what there is in place of the examples, and something of its own where the call uses it up."""
        case.body = self._renewed(case.body)
        case.query = self._renewed(case.query)
        spare(case)
        if is_positive(case):
            place = getattr(self, f"_place_{operation(case)}", None)
            if place:
                place(case, case.path_parameters)

    def sign(self, case):
        """Makes it a call of alice's, by her token, or of a backend's: in her name, or in nobody's."""
        ways = case.operation.definition.raw.get("security", [])
        allowed = {name for way in ways for name in way}
        if not allowed:
            return
        named = "x-flare-user" in case.headers
        if named and is_positive(case):
            case.headers["x-flare-user"] = MALLORY if operation(case) == "signOut" else ALICE
        by_system = operation(case) in BY_SYSTEM and next(self._count) % 2 == 0
        if named or by_system or "userToken" not in allowed:
            case.headers["x-api-key"] = self._key
        else:
            token = next(self._leavers) if operation(case) == "signOut" else self._token
            case.headers["authorization"] = f"Bearer {token}"

    def _place_createConversation(self, case, _path):
        # A user owns what he creates, and may not say so.
        case.body.pop("ownerId", None)
        # That one is there already; whoever names none gets another one.
        if case.body.get("conversationId") == GROUP and next(self._count) % 2:
            del case.body["conversationId"]

    def _place_disbandConversation(self, _case, path):
        self._group_of_its_own(path, ALICE, "bob", "carol")

    def _place_removeMember(self, _case, path):
        self._group_of_its_own(path, ALICE, "bob", "carol")
        if path["user_id"] == ALICE:
            path["user_id"] = "bob"

    def _place_setRole(self, _case, path):
        self._group_of_its_own(path, ALICE, "bob", "carol")
        if path["user_id"] == ALICE:
            path["user_id"] = "bob"

    def _place_transferOwnership(self, _case, path):
        self._group_of_its_own(path, ALICE, "bob", "carol")

    def _place_leaveConversation(self, _case, path):
        self._group_of_its_own(path, "bob", ALICE)

    def _place_recallMessage(self, _case, path):
        if path["conversation_id"] == GROUP:
            path["seq"] = self._message()["seq"]

    def _place_markRead(self, case, path):
        if path["conversation_id"] == GROUP and next(self._count) % 2:
            case.body["seq"] = "1"

    def _place_history(self, case, _path):
        for name in [it for it in POSITIONS if it in case.query][1:]:
            del case.query[name]

    def _place_explainMessage(self, _case, path):
        path["message_id"] = self._message()["messageId"]

    def _place_revokeApiKey(self, _case, path):
        made = self._api.ask("POST", "/api-keys", {"name": "spare", "scopes": ["read"]})
        path["key_id"] = made["apiKey"]["keyId"]

    def _place_listDevices(self, _case, path):
        # A user has but his own shown.
        path["user_id"] = ALICE

    def _group_of_its_own(self, path, owner, *members):
        if path["conversation_id"] == GROUP:
            body = {"clientId": self._client_id(), "memberIds": members}
            made = self._api.ask("POST", "/conversations", body, owner)
            path["conversation_id"] = made["conversation"]["conversationId"]

    def _message(self):
        content = {"text": {"text": "To be found"}}
        body = {"clientId": self._client_id(), "conversationId": GROUP, "content": content}
        return self._api.ask("POST", "/messages", body, ALICE)["placed"]

    def _client_id(self):
        return f"stage-{next(self._count)}"

    def _renewed(self, value):
        """The same, where each example of a client id is another one: a command of its own."""
        if isinstance(value, list):
            return [self._renewed(inner) for inner in value]
        if not isinstance(value, dict):
            return value
        renewed = {name: self._renewed(inner) for name, inner in value.items()}
        for name in ("clientId", "client_id"):
            if str(renewed.get(name)).startswith(EXAMPLE_IDS):
                renewed[name] = self._client_id()
        return renewed


def operation(case):
    return case.operation.definition.raw["operationId"]


def is_positive(case):
    return case.meta is None or case.meta.generation.mode.is_positive


def spare(case):
    """Keeps the people's tokens good: they would all be worthless from then on."""
    if operation(case) == "revoke" and case.path_parameters.get("user_id") in PEOPLE:
        case.path_parameters["user_id"] = MALLORY
    if operation(case) == "signOut" and case.headers.get("x-flare-user") in PEOPLE:
        case.headers["x-flare-user"] = MALLORY
