"""A job with the Ray engine in a process of its own: `python ray_program.py INPUT OUTPUT [RPM]`.

In its own, as Ray's connections go where a test may not look, and as it is to be killed.
"""

import os
import sys
from typing import Any

import ray

from modelwire import ChatPromptTemplate, RunnableLambda, RunnablePassthrough, StrOutputParser
from modelwire.adapters import ChatOpenAI
from modelwire.jobs import run_job


def with_process(row: Any) -> dict[str, Any]:
    return {"said": row["said"], "process": os.getpid()}


if __name__ == "__main__":
    given, output = sys.argv[1:3]
    model = ChatOpenAI(
        model="m",
        base_url=os.environ["OPENAI_BASE_URL"],
        rpm=float(sys.argv[3]) if sys.argv[3:] else None,
    )
    ask = ChatPromptTemplate.from_template("{text}") | model | StrOutputParser()
    ray.init(
        num_cpus=2, include_dashboard=False, logging_level="ERROR", _node_ip_address="127.0.0.1"
    )
    result = run_job(
        RunnablePassthrough.assign(said=ask) | RunnableLambda(with_process),
        given,
        output=output,
        engine="ray",
        workers=2,
        quiet=True,
    )
    ray.shutdown()  # which has things to say, too
    print(result.rows, result.failed, result.same, flush=True)
