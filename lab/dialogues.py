"""The texts of the demonstration's calls: small scenes of a contact centre."""

from lab.speech import Dialogue

INBOUND = (
    Dialogue(
        "support",
        "agent",
        (
            "Good morning, this is support. How may I help you?",
            "Hello. My internet connection has been down since last night.",
            "I am sorry to hear that. Is the light on the router green or red?",
            "It is red, and it is blinking.",
            "Please pull the plug, count to ten, and put it back in.",
            "One moment. Yes, now it is green. It works again!",
            "Wonderful. Is there anything else that I can do for you?",
            "No, thank you very much. Good bye.",
        ),
    ),
    Dialogue(
        "order",
        "agent",
        (
            "Welcome to the order desk. What can I do for you?",
            "Hello, I would like to order two of the blue office chairs, please.",
            "With pleasure. The chair is one hundred and twenty nine dollars each.",
            "That is fine. When can you deliver them?",
            "On Thursday, between nine and noon. Shall I send them to your usual address?",
            "Yes, please. Thank you, and have a nice day.",
        ),
    ),
    Dialogue(
        "invoice",
        "agent",
        (
            "Accounts department, good afternoon.",
            "Good afternoon. I have a question about my last invoice. It looks too high.",
            "Let me have a look. Could you tell me the invoice number?",
            "It is four, seven, one, one.",
            "Thank you. I see that one item was charged twice. I will correct that at once.",
            "So I will get a new invoice?",
            "Yes, it will be in your mailbox in a few minutes. I apologise for the mistake.",
            "No problem. Thanks for your quick help.",
        ),
    ),
    Dialogue(
        "cancel",
        "agent",
        (
            "Customer care, what can I do for you?",
            "I want to cancel my subscription at the end of the month.",
            "May I ask why you are leaving us?",
            "I am moving abroad, and your service is not available there.",
            "I understand. Your contract will end on the thirty first. You get a letter about it.",
            "Great, that was easy. Good bye.",
        ),
    ),
)

OUTBOUND = (
    Dialogue(
        "callback",
        "customer",
        (
            "Hello, who is speaking?",
            "Good morning. You asked us to call you back about your repair.",
            "Oh yes. Is my coffee machine ready?",
            "It is. We replaced the pump, and it is as good as new.",
            "How much does it cost?",
            "Nothing at all, it is still under warranty. You can fetch it from today on.",
            "That is good news. I will come by this afternoon.",
        ),
    ),
    Dialogue(
        "appointment",
        "customer",
        (
            "Yes, hello?",
            "Hello, I am calling about your appointment on Monday. May we move it to Tuesday?",
            "Tuesday is difficult. Could you make it Wednesday at three o'clock?",
            "Wednesday at three is perfect. I will write that down.",
            "Thank you for letting me know.",
        ),
    ),
)
