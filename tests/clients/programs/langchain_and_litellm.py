from __future__ import annotations

import sys

import litellm
import openai
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

_, URL, KEY, FIRST, SECOND = sys.argv
HELLO = [{"role": "user", "content": "hi"}]

litellm.suppress_debug_info = True
try:
    ChatOpenAI(model=FIRST, base_url=URL, api_key=SecretStr(KEY)).invoke("hi")
except openai.APIError as error:
    print("langchain", type(error).__name__)
try:
    litellm.completion(f"openai/{SECOND}", HELLO, api_base=URL, api_key=KEY)
except openai.APIError as error:
    print("litellm", type(error).__name__)
