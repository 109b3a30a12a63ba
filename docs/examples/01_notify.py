"""The smallest one: tell that a pipeline failed.

    python docs/examples/01_notify.py

In a pod it uses the service account, elsewhere KUBECONFIG. It never raises and takes 2 s at most.
"""

import asyncio

from pipebell import get_notification_service


async def main() -> None:
    service = get_notification_service()
    receipt = await service.notify_pipeline_failure(
        org_slug="acme_corp",
        pipeline_id="daily-orders",
        pipeline_logging_id="run-2026-01-31",
        error_message="table orders is empty",
        details={"step": "extract", "rows": 0},
    )
    print(receipt.state, receipt.name)


asyncio.run(main())
