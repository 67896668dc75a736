"""Answers calls: one JSON object a line from standard input, `{"name": ..., ...}`, and one line for each."""
import json
import sys


def serve_calls(worker: object) -> None:
    print(json.dumps({'value': 'ready'}), flush=True)
    for line in sys.stdin:
        call = json.loads(line)
        try:
            answer = {'value': getattr(worker, call.pop('name'))(**call)}
        except Exception as error:  # noqa: BLE001: whatever went wrong is the caller's to tell
            answer = {'error': f'{type(error).__name__}: {error}'}
        print(json.dumps(answer), flush=True)
