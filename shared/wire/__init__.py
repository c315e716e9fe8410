"""Wire formats: both sides of each, pure (no I/O, no clock: ids and times come in).

A wire never imports another wire; `lighton` and `paddle` are flavours of `openai`, and a format too
long for one module is split by message: `openai_errors`, `openai_stream`, `chatvlm_batch`,
`deepseek_batch`, `deepseek_stream`. `kinds`, `answers`, `parameters`, `fastapi` and `streams` are
what several wires share.

Server side (a service in its own format, the router in all):

    read_OPERATION(incoming: Incoming, limits: Limits) -> Call
        raises InvalidRequest kinds. `call.request` is the hub's request with the service's defaults
        filled in; the rest of the call is what its answer repeats. Operations: `read_chat` (openai,
        lighton, paddle, chatvlm), `read_ocr` (dots, deepseek, chatvlm), `read_file` and
        `read_stream` (deepseek; all deepseek reads take `prompt=`, the service's default).
    write_result(call, result, stamp: Stamp) -> Reply
    write_error(error, call=None) -> Reply
        documented status and body, `x-ocr-error` with the kind, `retry-after`, `allow`.
        NoSuchRoute and WrongMethod have the format's own fixed texts.
    DeltaWriter(call, stamp): media_type, start(), write(delta, at=None), fail(error) -> bytes
        in lighton, dots, deepseek_stream, openai_stream; fleet.DeltaWriter() needs no arguments.
        `at` is the time of a dots line.
    chatvlm_batch.read_batch -> tuple[Call, ...]; write_batch(outcomes, seconds) -> Reply
    deepseek_batch.read_batch -> tuple[Call | InvalidRequest, ...]; write_batch(outcomes, seconds)
    write_health(...), write_models(...), chatvlm.write_root(), .write_unloaded(model),
    .not_loaded(model), .read_model(name)

Client side (the router, a remote engine):

    write_request(request: Request) -> Outgoing      raises InvalidRequest where the format has no
        words for the task. Absent sampling stays absent. It decodes base64 where the format wants
        a file (chatvlm, deepseek's streams): that belongs on a thread when pages are large.
    read_result(reply) -> Result                     raises what the reply says went wrong
    read_error(reply) -> OcrError                    the kind by `x-ocr-error`, else status and body
    DeltaReader(): feed(data), close() -> list[Delta]; raises what the stream says went wrong, and
        EngineFailed at `close` when the documented end is missing
    deepseek_batch and chatvlm_batch: write_request(...), read_results(reply)

Each module's docstring says what its format cannot carry.
"""
