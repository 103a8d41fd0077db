"""From a request to token ids: the ids that the model's chat template gives, with user text that is never a control token.

A template is rendered with the texts as they were typed, and what it wrote is encoded as one text, as
`apply_chat_template` does. Which characters a person wrote is known from further renderings with other characters in
their place (`standins`). Only where one of them would be read as a control token the text is encoded otherwise, by the
same tokenizer with its control tokens spelled as nobody spells them (`disguise`).
"""
