"""What every enumerated value is called: for screens that show them in either language."""

from intake_api.http import Call, Reply, entity_tag, read_reply
from intake_api.services import Services
from projections.case_view import encode
from projections.labels import all_labels


async def get_labels(call: Call) -> Reply:
    """Every enumeration with its Chinese and English labels; all roles may read them."""
    services: Services = call.services
    services.caller(call)
    call.query(())
    await services.policies.refresh()
    body = encode(all_labels(services.policies.policies))
    return read_reply(call, body, entity_tag(body), ())
