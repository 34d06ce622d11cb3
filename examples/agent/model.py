"""Chooses the chat model: the one that MODEL names, or else the rule-based one."""

import importlib
import os

from langchain_core.language_models import BaseChatModel

from agent.rule_based import RuleBasedChatModel
from agent.rules import RULES


class ModelError(RuntimeError):
    """MODEL names a model that cannot be used here."""


def choose_model() -> BaseChatModel:
    """The model that MODEL names, such as "openai:gpt-5"; without it, one that needs no key and no network.

    Raises:
        ModelError: MODEL is set, and what it takes is not installed.
    """
    name = os.environ.get("MODEL")
    return _real_model(name) if name else RuleBasedChatModel(rules=RULES)


def _real_model(name: str) -> BaseChatModel:
    try:
        return importlib.import_module("langchain.chat_models").init_chat_model(name)
    except ImportError as error:
        provider = name.partition(":")[0]
        raise ModelError(
            f"MODEL is {name!r}, but {error}. Run `pip install langchain langchain-{provider}`, "
            "or unset MODEL to use the rule-based model."
        ) from error
