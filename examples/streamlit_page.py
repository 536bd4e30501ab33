"""A chat page: answers are written as they come, and the conversation is kept.

streamlit run examples/streamlit_page.py
MODEL=openai:gpt-4o-mini streamlit run examples/streamlit_page.py
"""

from __future__ import annotations

import streamlit as st
from stand_in import chosen_model

from modelwire import AIMessage, HumanMessage, ModelwireError, StrOutputParser
from modelwire.messages import BaseMessage


@st.cache_resource
def chain():
    return chosen_model([], lambda text: f"You said: {text}", max_tokens=200) | StrOutputParser()


st.title("modelwire")
history: list[BaseMessage] = st.session_state.setdefault("history", [])
for message in history:
    st.chat_message(message.type).write(message.text)

if question := st.chat_input("Ask something"):
    st.chat_message("human").write(question)
    asked = [*history, HumanMessage(question)]
    try:
        with st.chat_message("ai"):
            answer = st.write_stream(chain().stream(asked))
    except ModelwireError as exc:
        st.error(str(exc))  # the question is not kept: ask it again
    else:
        history[:] = [*asked, AIMessage(str(answer))]
