"""Small random models of the `transformers` library that write words, and one that chooses answers."""

from pathlib import Path
from typing import Any

import torch

from helpers.published import Made

WORDS = [
    "a",
    "photo",
    "of",
    "cat",
    "dog",
    "two",
    "red",
    "car",
    "is",
    "what",
    "colour",
    "the",
    "how",
    "many",
    "house",
    "kite",
]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", "[ENC]"]
CHAT = (
    "{{ bos_token }}{% for message in messages %}{{ message['role'] }} : {% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}{% endfor %}<end_of_utterance>"
    "{% endfor %}{% if add_generation_prompt %} assistant : {% endif %}"
)
ANSWERS = {0: "red", 1: "two", 2: "yes", 3: "no"}


def save(kind: str, folder: Path, seed: int = 0) -> Path:
    """A model of `kind`, one of MODELS, in a folder."""
    torch.manual_seed(seed)
    network, *processors = MODELS[kind]()
    with torch.no_grad():
        for name, value in network.named_parameters():
            if value.dim() > 1:
                value.normal_(0, 2.5 / value[0].numel() ** 0.5)
            elif "weight" not in name:
                value.normal_(0, 0.3)
    network.save_pretrained(folder)
    for processor in processors:
        processor.save_pretrained(folder)
    return folder


def bert_words() -> Any:
    """As BLIP, GIT and ViLT read: words in lower case between [CLS] and [SEP]."""
    import transformers as hf
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    letters = [chr(i) for i in range(ord("a"), ord("z") + 1)] + [f"##{chr(i)}" for i in range(ord("a"), ord("z") + 1)]
    vocabulary = {word: i for i, word in enumerate(dict.fromkeys([*SPECIAL, *WORDS, *letters, *"?.:|!0123456789"]))}
    words = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    words.normalizer = normalizers.BertNormalizer(lowercase=True)
    words.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    words.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])],
    )
    return hf.BertTokenizerFast(
        tokenizer_object=words,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )


def byte_words(*special: str) -> Any:
    """As GPT-2 and the chat models read: bytes, so that any script can be written. `special`: tokens besides."""
    import transformers as hf
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    names = ["<pad>", "<s>", "</s>", *special, *alphabet]
    words = Tokenizer(models.BPE({name: i for i, name in enumerate(names)}, []))
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = decoders.ByteLevel()
    found = hf.PreTrainedTokenizerFast(tokenizer_object=words, bos_token="<s>", eos_token="</s>", pad_token="<pad>")
    found.add_special_tokens({"additional_special_tokens": list(special)})
    return found


def _blip(network: str) -> Made:
    import transformers as hf

    words = bert_words()
    text = {
        "vocab_size": len(words), "hidden_size": 32, "encoder_hidden_size": 32, "intermediate_size": 64,
        "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 64, "projection_dim": 16,
        "bos_token_id": words.convert_tokens_to_ids("[DEC]"), "sep_token_id": words.sep_token_id,
        "pad_token_id": words.pad_token_id, "eos_token_id": words.sep_token_id,
    }  # fmt: skip
    vision = {
        "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
        "image_size": 64, "patch_size": 16, "projection_dim": 16,
    }  # fmt: skip
    config = hf.BlipConfig(text_config=text, vision_config=vision, projection_dim=16)
    pictures = hf.BlipImageProcessor(size={"height": 64, "width": 64})
    return getattr(hf, network)(config), hf.BlipProcessor(pictures, words)


def blip() -> Made:
    return _blip("BlipForConditionalGeneration")


def blip_vqa() -> Made:
    return _blip("BlipForQuestionAnswering")


def blip2() -> Made:
    import transformers as hf

    words = byte_words("<image>")
    text = hf.OPTConfig(
        vocab_size=len(words), hidden_size=32, word_embed_proj_dim=32, ffn_dim=64, num_hidden_layers=2,
        num_attention_heads=4, max_position_embeddings=256, bos_token_id=1, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    vision = {
        "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
        "image_size": 64, "patch_size": 16,
    }  # fmt: skip
    looking = {
        "vocab_size": 10, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64,
        "encoder_hidden_size": 32,
    }  # fmt: skip
    image = words.convert_tokens_to_ids("<image>")
    config = hf.Blip2Config(
        vision_config=vision, qformer_config=looking, text_config=text.to_dict(), num_query_tokens=4,
        image_token_index=image,
    )  # fmt: skip
    pictures = hf.BlipImageProcessor(size={"height": 64, "width": 64})
    return hf.Blip2ForConditionalGeneration(config), hf.Blip2Processor(pictures, words, num_query_tokens=4)


def git() -> Made:
    import transformers as hf

    words = bert_words()
    vision = {
        "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
        "image_size": 64, "patch_size": 16,
    }  # fmt: skip
    config = hf.GitConfig(
        vision_config=vision, vocab_size=len(words), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, max_position_embeddings=128, bos_token_id=words.cls_token_id,
        eos_token_id=words.sep_token_id, pad_token_id=words.pad_token_id,
    )  # fmt: skip
    pictures = hf.CLIPImageProcessor(size={"shortest_edge": 64}, crop_size={"height": 64, "width": 64})
    return hf.GitForCausalLM(config), hf.GitProcessor(pictures, words)


def vit_gpt2() -> tuple[Any, ...]:
    """Put together of two, each with what prepares its part."""
    import transformers as hf

    words = byte_words()
    encoder = hf.ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, image_size=64, patch_size=16
    )
    decoder = hf.GPT2Config(
        vocab_size=len(words), n_positions=64, n_embd=32, n_layer=2, n_head=4, is_decoder=True,
        add_cross_attention=True, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    config = hf.VisionEncoderDecoderConfig.from_encoder_decoder_configs(
        encoder, decoder, decoder_start_token_id=1, pad_token_id=0, eos_token_id=2
    )
    network = hf.VisionEncoderDecoderModel(config)
    return network, hf.ViTImageProcessor(size={"height": 64, "width": 64}), words


def vilt() -> Made:
    import transformers as hf

    words = bert_words()
    config = hf.ViltConfig(
        vocab_size=len(words), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        image_size=64, patch_size=16, max_position_embeddings=40, id2label=ANSWERS,
        label2id={name: i for i, name in ANSWERS.items()},
    )  # fmt: skip
    pictures = hf.ViltImageProcessor(size={"shortest_edge": 64}, size_divisor=16)
    return hf.ViltForQuestionAnswering(config), hf.ViltProcessor(pictures, words)


def _tiles(kind: str) -> Made:
    """A chat model that sees a photo in tiles, and as a whole."""
    import transformers as hf

    words = byte_words("<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>")
    words.chat_template = CHAT
    text = hf.LlamaConfig(
        vocab_size=len(words), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=4096, bos_token_id=1, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    vision = {
        "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
        "image_size": 64, "patch_size": 16,
    }  # fmt: skip
    image = words.convert_tokens_to_ids("<image>")
    config = getattr(hf, f"{kind}Config")(
        text_config=text.to_dict(), vision_config=vision, scale_factor=2, image_token_id=image, pad_token_id=0
    )
    pictures = getattr(hf, f"{kind}ImageProcessor")(
        size={"longest_edge": 192}, max_image_size={"longest_edge": 64}, do_image_splitting=True
    )
    network = getattr(hf, f"{kind}ForConditionalGeneration")(config)
    more = (hf.SmolVLMVideoProcessor(),) if kind == "SmolVLM" else ()
    processor = getattr(hf, f"{kind}Processor")(pictures, words, *more, image_seq_len=4, chat_template=CHAT)
    return network, processor


def idefics3() -> Made:
    return _tiles("Idefics3")


def smolvlm() -> Made:
    """Its processor needs num2words, for videos alone."""
    return _tiles("SmolVLM")


def qwen() -> Made:
    """A chat model that sees a photo in as many patches as it is large."""
    import transformers as hf

    words = byte_words("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>", "<end_of_utterance>")
    template = CHAT.replace("<image>", "<|vision_start|><|image_pad|><|vision_end|>")
    words.chat_template = template
    text = {
        "vocab_size": len(words),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]},
    }
    vision = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "depth": 2,
        "num_heads": 4,
        "patch_size": 8,
        "out_hidden_size": 32,
        "fullatt_block_indexes": [1],
        "window_size": 32,
    }
    ids = {name: words.convert_tokens_to_ids(f"<|{name.removesuffix('_token_id')}_pad|>") for name in _PADS}
    ends = {f"vision_{end}_token_id": words.convert_tokens_to_ids(f"<|vision_{end}|>") for end in ("start", "end")}
    config = hf.Qwen2_5_VLConfig(text_config=text, vision_config=vision, **ids, **ends)
    pictures = hf.Qwen2VLImageProcessor(patch_size=8, size={"shortest_edge": 1024, "longest_edge": 4096})
    processor = hf.Qwen2_5_VLProcessor(pictures, words, hf.Qwen2VLVideoProcessor(patch_size=8), chat_template=template)
    return hf.Qwen2_5_VLForConditionalGeneration(config), processor


def llava() -> Made:
    """A chat model that sees a photo at one size."""
    import transformers as hf

    words = byte_words("<image>", "<end_of_utterance>")
    words.chat_template = CHAT
    text = hf.LlamaConfig(
        vocab_size=len(words),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    vision = hf.CLIPVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4, image_size=64, patch_size=16
    )
    image = words.convert_tokens_to_ids("<image>")
    config = hf.LlavaConfig(vision_config=vision.to_dict(), text_config=text.to_dict(), image_token_id=image)
    pictures = hf.CLIPImageProcessor(size={"shortest_edge": 64}, crop_size={"height": 64, "width": 64})
    processor = hf.LlavaProcessor(
        pictures,
        words,
        patch_size=16,
        vision_feature_select_strategy="default",
        chat_template=CHAT,
        num_additional_image_tokens=1,
    )
    return hf.LlavaForConditionalGeneration(config), processor


_PADS = ("image_token_id", "video_token_id")
MODELS = {
    "qwen": qwen,
    "llava": llava,
    "blip": blip, "blip_vqa": blip_vqa, "blip2": blip2, "git": git, "vit_gpt2": vit_gpt2, "vilt": vilt,
    "idefics3": idefics3, "smolvlm": smolvlm,
}  # fmt: skip
